#pragma once
/// admin/transfer/files: the files of others. What lies in a directory that is imported may be anything: a symbolic
/// link out of it, a pipe that nobody writes to, a device. Only regular files are ever opened, never through a
/// link, never waiting. Errors are sentences about the file, without its name: the report names it.
/// Threads: values; a File belongs to one.
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "protocols/base/descriptor.h"
#include "protocols/base/result.h"

namespace posthouse::transfer {

using File = Descriptor;

enum class Kind { file, directory, link, other };
struct FileInfo {
    Kind kind = Kind::other;
    std::uint64_t octets = 0;
    std::int64_t modified_s = 0;  ///< Unix seconds
};

/// A directory as the operator wrote it; links in the path are his own.
Result<File> open_directory(const std::string& path);
/// A directory beneath another; `path` may have several levels, "" is `from` itself. No level may be a link.
Result<File> open_directory_beneath(const File& from, std::string_view path);
/// What `name` in `directory` is; a link is told as such.
Result<FileInfo> look_at(const File& directory, const std::string& name);
/// Opens a regular file for reading.
Result<File> open_regular(const File& directory, const std::string& name, FileInfo& info);
/// Calls `visit` for each name but "." and "..", in no order.
Result<> each_name(const File& directory, const std::function<void(std::string_view)>& visit);
/// Reads until `into` is full or the file ends; gives back the count.
Result<std::size_t> read_some(const File& file, std::span<char> into);
Result<std::size_t> read_some_at(const File& file, std::uint64_t offset, std::span<char> into);
/// A small text file, cut at `octets_max`; "" where there is none.
std::string read_small(const File& directory, const std::string& name, std::size_t octets_max);
// ---- writing (exports)

/// The directory `name` in `directory`, made (0700) where missing. A link in its place is refused.
Result<File> make_directory(const File& directory, const std::string& name);
/// A new file (0600) that takes the place of a left-over one of that name.
Result<File> create_file(const File& directory, const std::string& name);
Result<> write_all(const File& file, std::string_view octets);
/// Puts a finished file into its place, over one that is there.
Result<> move_file(const File& from, const std::string& old_name, const File& to, const std::string& new_name);
void remove_file(const File& directory, const std::string& name);
/// A small file under its name whole or not at all.
Result<> write_small(const File& directory, const std::string& name, std::string_view octets);

/// no_space, denied, already_exists, not_found or io, with the system's words behind `what`.
Error file_error(int error_number, std::string_view what);

}  // namespace posthouse::transfer
