#include "admin/transfer/mbox.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <unordered_map>

#include "admin/transfer/crlf.h"
#include "admin/transfer/folder_names.h"
#include "admin/transfer/mbox_marks.h"
#include "admin/transfer/mbox_reader.h"
#include "protocols/base/ascii.h"
#include "protocols/mime/header.h"

namespace posthouse::transfer {
namespace {

constexpr std::size_t kDepthMax = 20;

/// One mbox file.
struct Source {
    std::string path;  ///< beneath the directory; the file's own name where a file was given
    std::string name;  ///< folder, UTF-8
    File file;         ///< open where a file was given; else it is opened when its turn comes
    std::uint64_t octets = 0;
};

std::string joined(const std::string& path, std::string_view name) {
    return path.empty() ? std::string(name) : fmt::format("{}/{}", path, name);
}

std::string_view without(std::string_view name, std::string_view suffix) {
    if (name.size() > suffix.size() && ascii::ends_with_ci(name, suffix)) name.remove_suffix(suffix.size());
    return name;
}

// Indexes and settings that lie beside the mail.
bool is_by_the_way(std::string_view name) {
    return name.starts_with('.') ||
           std::ranges::any_of(std::initializer_list<std::string_view>{".msf", ".dat", ".html", ".json", ".lock",
                                                                       ".imap.index", ".plist"},
                               [name](std::string_view end) { return ascii::ends_with_ci(name, end); });
}

Error interrupted() {
    return Error(Errc::cancelled,
                 "the import was interrupted; what was taken stays, and the same command goes on from there");
}

class MboxImport {
 public:
    MboxImport(Taker& taker, const ImportOptions& options, const Watch& watch)
        : taker_(taker), options_(options), watch_(watch) {}

    Result<> run(const std::string& path) {
        TRY_VOID(find_sources(path));
        for (const Source& source : sources_) total_octets_ += source.octets;
        for (Source& source : sources_) {
            const Result<> done = take_source(source);
            if (!done) {
                static_cast<void>(taker_.finish());
                return done;
            }
            read_before_ += source.octets;
        }
        return taker_.finish();
    }

 private:
    Result<> find_sources(const std::string& path);
    Result<> scan(const std::string& path, const std::string& name, std::size_t depth);
    void add_file(const File& directory, const std::string& path, const std::string& entry, const std::string& name);
    Result<> take_source(Source& source);
    Result<> take_messages(const Source& source, MboxReader& reader);
    Result<> take_message(const Source& source, MboxReader& reader);
    /// The octets, their marks and what was at the top; nothing where the message is over the limit.
    Result<storage::StagedBodyPtr> read_message(MboxReader& reader, std::string& top);
    Result<> take_body(const Source& source, const MboxReader& reader, storage::StagedBodyPtr body,
                       const std::string& top, const std::string& shown);
    Result<const TakenFolder*> folder_for(const Source& source, const MboxMarks& marks);

    Taker& taker_;
    const ImportOptions& options_;
    const Watch& watch_;
    File root_;
    std::vector<Source> sources_;
    std::map<std::string, TakenFolder> folders_;               ///< of the present file, by FolderSpec::name
    std::unordered_map<std::uint64_t, std::uint32_t> counts_;  ///< by the start of the digest, in the present file
    std::uint64_t total_octets_ = 0;
    std::uint64_t read_before_ = 0;
    std::uint64_t done_ = 0;
};

Result<> MboxImport::find_sources(const std::string& path) {
    struct stat found{};
    // What the operator names is followed; opened without waiting, for it may be a pipe.
    File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (!file || ::fstat(file.get(), &found) != 0) return file_error(errno, fmt::format("cannot open {}", path));
    if (S_ISDIR(found.st_mode)) {
        root_ = std::move(file);
        TRY_VOID(scan("", "", 0));
        if (sources_.empty()) return Error(Errc::not_found, fmt::format("there is no mbox file in {}", path));
        std::ranges::sort(sources_, {}, &Source::name);
        return {};
    }
    if (!S_ISREG(found.st_mode)) return Error(Errc::invalid, fmt::format("{} is no regular file", path));
    Source& source = sources_.emplace_back();
    source.path = path.substr(path.rfind('/') + 1);
    source.name = std::string(without(source.path, ".mbox"));
    const std::string parent = path.substr(0, path.size() - source.path.size());
    // A spool file is named like its owner, and "mbox" like nothing: both are somebody's inbox.
    if (source.name == "mbox" || parent.ends_with("/var/mail/") || parent.ends_with("/spool/mail/"))
        source.name = "INBOX";
    source.octets = static_cast<std::uint64_t>(found.st_size);
    source.file = std::move(file);
    return {};
}

Result<> MboxImport::scan(const std::string& path, const std::string& name, std::size_t depth) {
    const auto directory = open_directory_beneath(root_, path);
    if (!directory) {
        taker_.fail(path, directory.error());
        return {};
    }
    std::vector<std::string> below;
    const Result<> listed = each_name(*directory, [&](std::string_view entry) { below.emplace_back(entry); });
    if (!listed) taker_.fail(path, listed.error());
    for (const std::string& entry : below) {
        if (is_by_the_way(entry)) continue;
        const auto info = look_at(*directory, entry);
        if (!info) continue;
        const std::string shown = joined(path, entry);
        if (info->kind == Kind::link) {
            taker_.fail(shown, Error(Errc::invalid, "it is a symbolic link, which is not followed"));
        } else if (info->kind == Kind::directory && depth == kDepthMax) {
            taker_.fail(shown, Error(Errc::limit, "it lies too deep"));
        } else if (info->kind == Kind::directory) {
            TRY_VOID(scan(shown, joined(name, without(without(entry, ".sbd"), ".mbox")), depth + 1));
        } else if (info->kind == Kind::file) {
            add_file(*directory, path, entry, name);
        }
    }
    return {};
}

void MboxImport::add_file(const File& directory, const std::string& path, const std::string& entry,
                          const std::string& name) {
    Source source;
    source.path = joined(path, entry);
    // Apple Mail: "Work.mbox/mbox" is the folder "Work".
    const bool apple = entry == "mbox" && ascii::ends_with_ci(path, ".mbox");
    source.name = apple ? name : joined(name, without(entry, ".mbox"));
    FileInfo info;
    const auto file = open_regular(directory, entry, info);
    if (!file) return taker_.fail(source.path, file.error());
    source.octets = info.octets;
    // Thousands of folders must not be thousands of open files: it is opened again when its turn comes.
    sources_.push_back(std::move(source));
}

Result<> MboxImport::take_source(Source& source) {
    if (!source.file) {
        const std::size_t slash = source.path.rfind('/');
        const std::string parent = slash == std::string::npos ? "" : source.path.substr(0, slash);
        const auto directory = open_directory_beneath(root_, parent);
        FileInfo info;
        auto file =
            directory ? open_regular(*directory, source.path.substr(slash + 1), info) : Result<File>(directory.error());
        if (!file) return taker_.fail(source.path, file.error()), Result<>();
        source.file = *std::move(file);
    }
    static_cast<void>(::posix_fadvise(source.file.get(), 0, 0, POSIX_FADV_SEQUENTIAL));
    folders_.clear();
    counts_.clear();
    MboxReader reader(
        [&source](std::uint64_t offset, std::span<char> into) { return read_some_at(source.file, offset, into); });
    const Result<> done = take_messages(source, reader);
    source.file.close();
    return done;
}

Result<> MboxImport::take_messages(const Source& source, MboxReader& reader) {
    for (bool first = true;; first = false) {
        if (watch_.is_interrupted()) return interrupted();
        const auto more = reader.next();
        if (!more) {
            taker_.fail(source.path, first ? more.error()
                                           : Error(more.error().code, fmt::format("at octet {}: {}", reader.position(),
                                                                                  more.error().context)));
            return {};
        }
        if (!*more) break;
        TRY_VOID(take_message(source, reader));
        ++done_;
        const std::uint64_t read = read_before_ + reader.position();
        if (done_ % 64 == 0 && read > 0) {  // a guess from the share that was read
            watch_.expected(static_cast<std::uint64_t>(static_cast<double>(done_) * static_cast<double>(total_octets_) /
                                                       static_cast<double>(read)));
        }
        watch_.shown(done_, taker_.statistics().octets, source.name);
    }
    // An empty file is an empty folder, and stays one.
    if (folders_.empty()) TRY_VOID(folder_for(source, MboxMarks()));
    return {};
}

Result<> MboxImport::take_message(const Source& source, MboxReader& reader) {
    const std::string shown = fmt::format("{} at octet {}", source.path, reader.offset());
    std::string top;
    auto body = read_message(reader, top);
    if (!body && body.error().code == Errc::no_space) return Error(body.error());
    if (!body) return taker_.fail(shown, body.error()), Result<>();
    if ((*body)->size_octets() == 0) {
        return taker_.fail(shown, Error(Errc::invalid, "the message is empty")), Result<>();
    }
    return take_body(source, reader, *std::move(body), top, shown);
}

Result<storage::StagedBodyPtr> MboxImport::read_message(MboxReader& reader, std::string& top) {
    const auto body = taker_.stage();
    CrlfWriter writer(*body);
    bool first = true;
    bool open_end = false;
    std::string held;  // the last line end, where it may not be the message's
    for (;;) {
        TRY(std::string_view piece, reader.piece());
        if (piece.empty()) break;
        if (std::exchange(first, false)) {
            const std::size_t octets = measure_top_marks(piece, open_end);
            top = piece.substr(0, octets);
            piece.remove_prefix(octets);
        }
        if (body->size_octets() + piece.size() > kTakenOctetsMax) {
            return Error(Errc::too_large,
                         fmt::format("the message is larger than {} octets, the most that is taken", kTakenOctetsMax));
        }
        if (open_end) {
            TRY_VOID(writer.append(held));
            const std::size_t end = piece.ends_with('\n') ? 1 : 0;
            held = piece.substr(piece.size() - end);
            piece.remove_suffix(end);
        }
        TRY_VOID(writer.append(piece));
    }
    return body->finish();
}

Result<> MboxImport::take_body(const Source& source, const MboxReader& reader, storage::StagedBodyPtr body,
                               const std::string& top, const std::string& shown) {
    const std::string_view octets = body->view();
    const MboxMarks marks = parse_marks(top, octets.substr(0, mime::find_header_end(octets)));
    const std::string digest = digest_without_marks(octets);
    std::uint64_t start = 0;
    for (const char c : digest.substr(0, 16)) start = start * 16 + static_cast<std::uint64_t>(ascii::hex_value(c));
    const std::uint32_t before = counts_[start]++;
    if (marks.expunged) return {};
    TRY(const TakenFolder* const folder, folder_for(source, marks));
    if (folder == nullptr) return {};
    TakenItem item;
    item.key = fmt::format("{}.{}", digest, before);
    item.name = shown;
    item.flags = marks.flags;
    item.keywords = marks.keywords;
    item.keywords.insert(item.keywords.end(), marks.labels.begin(), marks.labels.end());
    TRY(const bool known, taker_.has(*folder, item.key));
    if (known) return taker_.set_flags(*folder, std::move(item.key), item.flags, std::nullopt);
    item.body = std::move(body);
    item.internal_date_s = reader.from_line().time_s;
    return taker_.add(*folder, std::move(item));
}

// Null where the mailbox cannot be made, which was reported.
Result<const TakenFolder*> MboxImport::folder_for(const Source& source, const MboxMarks& marks) {
    FolderSpec spec;
    spec.name = marks.labelled ? fmt::format("{}#{}", source.path, marks.folder) : source.path;
    if (const auto found = folders_.find(spec.name); found != folders_.end()) return &found->second;
    FolderPlace place = place_folder(marks.labelled ? marks.folder : source.name, options_.into);
    // One file with --into goes into that very mailbox.
    if (!options_.into.empty() && sources_.size() == 1 && !root_ && !marks.labelled) {
        place.mailbox = usable_mailbox_name(options_.into);
    }
    spec.mailbox = place.mailbox;
    spec.use = place.use;
    auto taken = taker_.open_folder(spec);
    if (!taken && taken.error().code == Errc::invalid) {
        taker_.fail(spec.name, taken.error());
        return static_cast<const TakenFolder*>(nullptr);
    }
    if (!taken) return Error(taken.error());
    return &folders_.emplace(spec.name, *std::move(taken)).first->second;
}

}  // namespace

Result<> import_mbox(Taker& taker, const std::string& path, const ImportOptions& options, const Watch& watch) {
    return MboxImport(taker, options, watch).run(path);
}

}  // namespace posthouse::transfer
