#include "storage/check/salvage.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <vector>

#include "protocols/base/log.h"
#include "protocols/mime/facts.h"
#include "storage/check/record_reader.h"
#include "storage/check/walk.h"
#include "storage/context.h"
#include "storage/segments_lock.h"

namespace posthouse::storage {
namespace {

constexpr std::uint64_t kMessageOctetsMax = 1ULL << 30U;
constexpr std::uint64_t kRecordsAStep = 64;

Result<Descriptor> open_directory(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return system_error(errno, fmt::format("cannot open the directory {}", path));
    return Descriptor(fd);
}

std::vector<std::string> segment_files(const Descriptor& directory) {
    std::vector<std::string> out;
    const int fd = ::openat(directory.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return out;
    const std::unique_ptr<DIR, int (*)(DIR*)> listing(::fdopendir(fd), ::closedir);
    while (const dirent* item = ::readdir(listing.get())) {
        const std::string_view name = item->d_name;
        if (name.ends_with(".seg")) out.emplace_back(name);
    }
    std::ranges::sort(out);
    return out;
}

/// DATA, DATA/segments, or any directory of .seg files.
Result<Descriptor> open_segments(const std::string& data) {
    if (auto inner = open_directory(data + "/segments")) return inner;
    return open_directory(data);
}

/// A record's payload, and what could be made of it.
struct Read {
    std::string octets;
    bool whole = false;   ///< its checksum holds and it could be unpacked
    bool packed = false;  ///< `octets` could not be unpacked
};

/// Shorter than it says where the file was cut or a sector cannot be read.
std::string read_payload(const Descriptor& file, const FoundRecord& record) {
    constexpr std::size_t kSector = 4096;
    const auto size = size_of(file);
    const std::uint64_t from = record.position + kRecordHeaderOctets;
    if (!size || from >= *size) return {};
    std::string out(std::min({record.header.payload_octets, *size - from, kMessageOctetsMax}), '\0');
    const auto got = read_at(file, from, out);
    if (got) {
        out.resize(*got);
        return out;
    }
    // What a sector does not give stays zero; the checksum tells.
    for (std::size_t at = 0; at < out.size(); at += kSector) {
        static_cast<void>(
            read_at(file, from + at, std::span<char>(out).subspan(at, std::min(kSector, out.size() - at))));
    }
    return out;
}

Read read_record(const Descriptor& file, const FoundRecord& record) {
    Read out;
    out.octets = read_payload(file, record);
    out.whole =
        out.octets.size() == record.header.payload_octets && crc_of_octets(0, out.octets) == record.header.payload_crc;
    if (record.header.flags != kRecordZstd) return out;
    if (auto plain = RecordReader::unpack_any(out.octets, kMessageOctetsMax)) {
        out.octets = *std::move(plain);
    } else {
        out.packed = true;
        out.whole = false;
    }
    return out;
}

Result<> write_new(const Descriptor& directory, const std::string& name, std::string_view octets) {
    TRY(const Descriptor file, open_beneath(directory, name, O_WRONLY | O_CREAT | O_EXCL));
    return write_at(file, 0, octets);
}

/// A cell of salvage.tsv.
std::string cell(std::string_view text) {
    std::string out = log::escape(text);
    std::ranges::replace(out, '\t', ' ');
    return out;
}

class Salvager {
 public:
    Salvager(const Descriptor& target, SalvageWhat what, SalvageReport& report, const CheckObserver& observer)
        : target_(target), what_(what), report_(report), observer_(observer) {}

    Result<> start() {
        TRY(list_, open_beneath(target_, "salvage.tsv", O_WRONLY | O_CREAT | O_EXCL));
        return line("file\tstate\toctets\tdate\tfrom\tsubject\n");
    }

    Result<> file(const Descriptor& segments, const std::string& name, std::uint64_t total) {
        ++report_.files;
        auto opened = open_beneath(segments, name, O_RDONLY);
        const auto size = opened ? size_of(*opened) : Result<std::uint64_t>(opened.error());
        if (!size) {
            ++report_.files_unreadable;
            log::error("storage", "{}", size.error().context);
            return {};
        }
        SegmentWalk walk(*opened, std::min(*size, kFileHeaderOctets), *size);
        folder_ = name.substr(0, name.size() - 4);
        made_ = false;
        std::uint64_t count = 0;
        for (auto found = walk.next(); found; found = walk.next()) {
            TRY_VOID(record(*opened, *found));
            if (++count % kRecordsAStep == 0 && !observer_(report_.files, total, report_.octets, name)) {
                report_.stopped = true;
                break;
            }
        }
        report_.octets_skipped += walk.skipped();
        return {};
    }

 private:
    Result<> record(const Descriptor& file, const FoundRecord& found) {
        const Read read = read_record(file, found);
        report_.octets += read.octets.size();
        if (what_ == SalvageWhat::damaged && read.whole) return {};
        if (!made_) {
            if (::mkdirat(target_.get(), folder_.c_str(), 0700) != 0 && errno != EEXIST) {
                return system_error(errno, fmt::format("cannot make the directory {}", folder_));
            }
            made_ = true;
        }
        const std::string_view ending = read.whole ? ".eml" : read.packed ? ".damaged.zst" : ".damaged.eml";
        const std::string name = fmt::format("{}/{}-m{}{}", folder_, found.position, raw(found.header.message), ending);
        TRY_VOID(write_new(target_, name, read.octets));
        ++(read.whole ? report_.messages : report_.damaged);
        mime::MessageFacts facts;
        if (!read.packed) facts = mime::compute_facts(read.octets);
        return line(fmt::format("{}\t{}\t{}\t{}\t{}\t{}\n", name, read.whole ? "whole" : "damaged", read.octets.size(),
                                facts.date ? format_rfc3339(*facts.date) : "", cell(facts.from), cell(facts.subject)));
    }

    Result<> line(const std::string& text) {
        TRY_VOID(write_at(list_, list_end_, text));
        list_end_ += text.size();
        return {};
    }

    const Descriptor& target_;
    const SalvageWhat what_;
    SalvageReport& report_;
    const CheckObserver& observer_;
    Descriptor list_;
    std::uint64_t list_end_ = 0;
    std::string folder_;
    bool made_ = false;
};

/// What lies in a directory of segments, record by record.
class Recoverer {
 public:
    Recoverer(Store& store, const Account& account, std::string source, RecoverReport& report)
        : store_(store), account_(account), source_(std::move(source)), report_(report) {}

    Result<> start(bool own) {
        own_ = own;
        return store_.write({}, [&](Tx& tx) -> Result<> {
            MailTx& mail = tx.mail(account_.id);
            if (!mail.mailbox("Recovered")) TRY_VOID(mail.create("Recovered", SpecialUse::none));
            TRY(const Mailbox box, mail.mailbox("Recovered"));
            mailbox_ = box.id;
            ImportFolder folder;
            folder.account = account_.id;
            folder.source = source_;
            folder.name = "segments";
            folder.mailbox = box.id;
            TRY(folder_, tx.imports().set_folder(folder));
            return {};
        });
    }

    Result<> record(const std::string& name, const Descriptor& file, const FoundRecord& found) {
        const std::string key = fmt::format("{}:{}:{}", name, found.position, raw(found.header.message));
        TRY(const bool known, is_known(found, key));
        if (known) {
            ++report_.known;
            return {};
        }
        const Read read = read_record(file, found);
        if (!read.whole) {
            ++report_.damaged;
            return {};
        }
        auto writer = store_.stage();
        TRY_VOID(writer->append(read.octets));
        TRY(const StagedBodyPtr body, writer->finish());
        const mime::MessageFacts facts = mime::compute_facts(read.octets);
        TRY_VOID(store_.write({body}, [&](Tx& tx) -> Result<> {
            TRY(const MessageId message, tx.add_message(body, facts));
            AppendOptions options;
            if (facts.date) options.internal_date_s = to_unix_ms(*facts.date) / 1000;
            TRY(const Entry entry, tx.mail(account_.id).append(mailbox_, message, options));
            return tx.imports().remember(folder_, key, entry.uid);
        }));
        ++report_.recovered;
        return {};
    }

 private:
    /// Recovered before, or a living message of this very store (perhaps of a copy that compaction left).
    Result<bool> is_known(const FoundRecord& found, const std::string& key) {
        return store_.read([&](const Snapshot& snapshot) -> Result<bool> {
            TRY(const bool done, snapshot.imports().has(folder_, key));
            if (done || !own_) return done;
            Query q = context_of(snapshot).db.query("SELECT 1 FROM messages WHERE id = ?1");
            return q.bind(found.header.message).row();
        });
    }

    Store& store_;
    const Account account_;
    const std::string source_;
    RecoverReport& report_;
    bool own_ = false;
    MailboxId mailbox_{};
    ImportFolderId folder_{};
};

/// What is committed of a segment of this store; all of another's.
Result<std::uint64_t> end_of(Store& store, bool own, const std::string& name, std::uint64_t size) {
    if (!own) return size;
    TRY(const std::uint64_t committed, store.read([&](const Snapshot& snapshot) -> Result<std::uint64_t> {
        Query q = context_of(snapshot).db.query("SELECT octets FROM segments WHERE id = ?1");
        TRY(const bool found, q.bind(std::strtoll(name.c_str(), nullptr, 10)).row());
        return found ? q.u64(0) : 0;
    }));
    return std::min(size, committed);
}

}  // namespace

Result<SalvageReport> salvage(const std::string& data, const std::string& target, SalvageWhat what,
                              const CheckObserver& observer) {
    // A server may run: what it compacts away between the listing and the reading would be missing.
    const Descriptor held = hold_segments_beneath(data);
    TRY(const Descriptor segments, open_segments(data));
    if (::mkdir(target.c_str(), 0700) != 0 && errno != EEXIST) {
        return system_error(errno, fmt::format("cannot make the directory {}", target));
    }
    TRY(const Descriptor into, open_directory(target));
    SalvageReport report;
    Salvager salvager(into, what, report, observer);
    TRY_VOID(salvager.start());
    const std::vector<std::string> files = segment_files(segments);
    for (const std::string& name : files) {
        TRY_VOID(salvager.file(segments, name, files.size()));
        if (report.stopped) break;
    }
    return report;
}

Result<RecoverReport> recover(Store& store, const std::string& from, const std::string& account,
                              const CheckObserver& observer) {
    TRY(const Account owner, store.read([&](const Snapshot& s) { return s.catalog().account(account); }));
    const bool own = from.empty();
    const std::string where = own ? directory_of(store).path() : from;
    const Descriptor held = hold_segments_beneath(where);
    TRY(const Descriptor segments, open_segments(where));
    RecoverReport report;
    Recoverer recoverer(store, owner, fmt::format("segments:{}", own ? "own" : from), report);
    TRY_VOID(recoverer.start(own));
    const std::vector<std::string> files = segment_files(segments);
    std::uint64_t done = 0;
    for (const std::string& name : files) {
        const auto file = open_beneath(segments, name, O_RDONLY);
        if (!file) continue;
        TRY(const std::uint64_t size, size_of(*file));
        TRY(const std::uint64_t end, end_of(store, own, name, size));
        SegmentWalk walk(*file, std::min(end, kFileHeaderOctets), end);
        for (auto found = walk.next(); found; found = walk.next()) {
            // Octets of a message can look like a record: only what stands in line is brought into a mailbox here.
            if (!found->in_line && own) continue;
            TRY_VOID(recoverer.record(name, *file, *found));
            if (!observer(++done, 0, 0, name)) {
                report.stopped = true;
                return report;
            }
        }
    }
    return report;
}

}  // namespace posthouse::storage
