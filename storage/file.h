#pragma once
/// storage/file (internal): descriptors, whole writes and syncs whose every failure is told.
/// Threads: values; a descriptor may be read from any thread.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <sys/uio.h>

#include "protocols/base/descriptor.h"
#include "protocols/base/result.h"

namespace posthouse::storage {

/// The most octets given to one write call: larger ones spend their time in the page cache (measured).
inline constexpr std::size_t kWriteStepOctets = 256 * 1024;

/// Errc::no_space for ENOSPC and EDQUOT, not_found for ENOENT, denied, already_exists, else io; says what failed.
Error system_error(int error_number, std::string_view what);

/// Opens beneath `directory`, never through a symbolic link, close-on-exec.
Result<Descriptor> open_beneath(const Descriptor& directory, const std::string& name, int flags, unsigned mode = 0600);
/// Writes all of it at `offset`, in steps of at most kWriteStepOctets.
Result<> write_at(const Descriptor& file, std::uint64_t offset, std::string_view octets);
/// Writes the pieces one behind the other at `offset`; together at most kWriteStepOctets. Changes the pieces.
Result<> write_pieces(const Descriptor& file, std::uint64_t offset, std::span<iovec> pieces);
/// Reads until `into` is full or the file ends; gives back the count.
Result<std::size_t> read_at(const Descriptor& file, std::uint64_t offset, std::span<char> into);
Result<> sync_data(const Descriptor& file);
Result<> cut_to(const Descriptor& file, std::uint64_t octets);
/// Renames without replacing: Errc::already_exists where `new_name` is taken.
Result<> rename_new(const Descriptor& from, const std::string& name, const Descriptor& to, const std::string& new_name);
/// fsync of a directory: makes names durable.
Result<> sync_directory(const Descriptor& directory);
Result<std::uint64_t> size_of(const Descriptor& file);

}  // namespace posthouse::storage
