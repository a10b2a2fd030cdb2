#include "storage/backup/manifest.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <unordered_set>
#include <utility>

#include "protocols/base/ascii.h"

namespace posthouse::storage::backup {
namespace {

constexpr std::string_view kFirstLine = "posthouse-backup 1";

Error broken(std::string_view why) { return Error(Errc::corrupt, fmt::format("the manifest is damaged: {}", why)); }

template <class Number>
bool take_number(std::string_view& in, Number& out) {
    if (in.starts_with(' ')) in.remove_prefix(1);
    const auto [end, failed] = std::from_chars(in.data(), in.data() + in.size(), out);
    if (failed != std::errc()) return false;
    in.remove_prefix(static_cast<std::size_t>(end - in.data()));
    return true;
}

/// One line each: what others wrote (host names, sentences) cannot begin a line of its own.
std::string one_line(std::string_view text) {
    std::string out(text);
    std::ranges::replace_if(out, [](char c) { return ascii::is_control(c); }, ' ');
    return out;
}

/// A name that stays beneath the directory it is restored to.
bool is_file_name(std::string_view name) {
    if (name.empty() || name.front() == '/' || name.size() > 200) return false;
    for (std::size_t at = 0; at <= name.size();) {
        const std::size_t slash = std::min(name.find('/', at), name.size());
        const std::string_view part = name.substr(at, slash - at);
        if (part.empty() || part == "." || part == "..") return false;
        at = slash + 1;
    }
    return std::ranges::none_of(name, [](char c) { return ascii::is_control(c); });
}

class Parser {
 public:
    Result<Manifest> run(std::string_view text) {
        const std::size_t last = text.rfind("end ");
        if (last == std::string_view::npos || (last != 0 && text[last - 1] != '\n')) return broken("it has no end");
        const std::string_view body = text.substr(0, last);
        const std::string wanted = fmt::format("end {}\n", crypto::hex(crypto::sha256(body)));
        if (text.substr(last) != wanted) return broken("its checksum does not match");
        bool first = true;
        for (std::size_t at = 0; at < body.size();) {
            const std::size_t end = body.find('\n', at);
            const std::string_view line = body.substr(at, end - at);
            at = end == std::string_view::npos ? body.size() : end + 1;
            if (!std::exchange(first, false)) {
                if (!take(line)) return broken(fmt::format("this line means nothing: {}", line.substr(0, 80)));
            } else if (line != kFirstLine) {
                return Error(Errc::unsupported, "the backup was made by a later version of Posthouse");
            }
        }
        for (const StoredFile& file : manifest_.files) {
            std::uint64_t sum = 0;
            for (const Chunk& chunk : file.chunks) sum += chunk.octets;
            if (sum != file.octets) return broken(fmt::format("the pieces of {} do not make it up", file.name));
        }
        return std::move(manifest_);
    }

 private:
    bool take(std::string_view line) {
        const std::size_t blank = line.find(' ');
        if (blank == std::string_view::npos) return false;
        const std::string_view key = line.substr(0, blank);
        std::string_view rest = line.substr(blank + 1);
        if (key == "chunk") return take_chunk(rest);
        if (key == "file") return take_file(rest);
        if (key == "source") return take_source(rest);
        if (key == "damage") return take_damage(rest);
        if (key == "hostname") {
            manifest_.hostname = rest;
            return true;
        }
        if (key == "created_ms") {
            std::int64_t ms = 0;
            const bool read = take_number(rest, ms) && rest.empty();
            manifest_.created = from_unix_ms(ms);
            return read;
        }
        if (key == "schema") return take_number(rest, manifest_.schema) && rest.empty();
        if (key == "accounts") return take_number(rest, manifest_.accounts) && rest.empty();
        if (key == "mailboxes") return take_number(rest, manifest_.mailboxes) && rest.empty();
        if (key == "messages") return take_number(rest, manifest_.messages) && rest.empty();
        if (key == "octets") return take_number(rest, manifest_.octets) && rest.empty();
        return false;
    }

    // file OCTETS NAME
    bool take_file(std::string_view rest) {
        StoredFile file;
        if (!take_number(rest, file.octets) || !rest.starts_with(' ')) return false;
        file.name = rest.substr(1);
        if (!is_file_name(file.name) || !names_.insert(file.name).second) return false;
        manifest_.files.push_back(std::move(file));
        return true;
    }

    // source SEGMENT SEALED INODE CHANGED_NS
    bool take_source(std::string_view rest) {
        if (manifest_.files.empty()) return false;
        Source& source = manifest_.files.back().source;
        int sealed = 0;
        const bool read = take_number(rest, source.segment) && take_number(rest, sealed) &&
                          take_number(rest, source.inode) && take_number(rest, source.changed_ns) && rest.empty();
        source.sealed = sealed == 1;
        return read;
    }

    // chunk SHA256 OCTETS
    bool take_chunk(std::string_view rest) {
        if (manifest_.files.empty()) return false;
        Chunk chunk;
        const auto digest = parse_digest(rest.substr(0, 64));
        if (!digest) return false;
        chunk.digest = *digest;
        rest.remove_prefix(64);
        if (!take_number(rest, chunk.octets) || !rest.empty()) return false;
        manifest_.files.back().chunks.push_back(chunk);
        return true;
    }

    bool take_damage(std::string_view rest) {
        if (manifest_.files.empty()) return false;
        manifest_.files.back().damage.emplace_back(rest);
        return true;
    }

    Manifest manifest_;
    std::unordered_set<std::string> names_;
};

}  // namespace

const StoredFile* Manifest::file(std::string_view wanted) const {
    const auto found = std::ranges::find(files, wanted, &StoredFile::name);
    return found == files.end() ? nullptr : &*found;
}

std::uint64_t Manifest::stored_octets() const {
    std::uint64_t sum = 0;
    for (const StoredFile& file : files) sum += file.octets;
    return sum;
}

std::uint64_t Manifest::damage_count() const {
    std::uint64_t count = 0;
    for (const StoredFile& file : files) count += file.damage.size();
    return count;
}

std::string format_manifest(const Manifest& manifest) {
    std::string out =
        fmt::format("{}\ncreated_ms {}\nhostname {}\nschema {}\naccounts {}\nmailboxes {}\nmessages {}\noctets {}\n",
                    kFirstLine, to_unix_ms(manifest.created), one_line(manifest.hostname), manifest.schema,
                    manifest.accounts, manifest.mailboxes, manifest.messages, manifest.octets);
    for (const StoredFile& file : manifest.files) {
        out += fmt::format("file {} {}\n", file.octets, file.name);
        if (file.source.segment != 0) {
            out += fmt::format("source {} {} {} {}\n", file.source.segment, file.source.sealed ? 1 : 0,
                               file.source.inode, file.source.changed_ns);
        }
        for (const Chunk& chunk : file.chunks) {
            out += fmt::format("chunk {} {}\n", crypto::hex(chunk.digest), chunk.octets);
        }
        for (const std::string& sentence : file.damage) out += fmt::format("damage {}\n", one_line(sentence));
    }
    out += fmt::format("end {}\n", crypto::hex(crypto::sha256(out)));
    return out;
}

Result<Manifest> parse_manifest(std::string_view text) { return Parser().run(text); }

std::string backup_name(Time created, std::string_view token) {
    // 2026-11-23T20:45:00.123Z -> 20261123T204500.123Z
    std::string out;
    for (const char c : format_rfc3339(created)) {
        if (c != '-' && c != ':') out += c;
    }
    return fmt::format("{}-{}", out, token);
}

Result<Time> time_of_backup(std::string_view name) {
    const Error no_name(Errc::invalid, fmt::format("\"{}\" is no name of a backup", one_line(name)));
    if (name.size() < 22 || name[8] != 'T' || name[15] != '.' || name[19] != 'Z' || name[20] != '-') return no_name;
    struct Part {
        std::size_t at;
        std::size_t digits;
    };
    constexpr Part kParts[] = {{0, 4}, {4, 2}, {6, 2}, {9, 2}, {11, 2}, {13, 2}, {16, 3}};
    int parts[7] = {};
    for (std::size_t i = 0; i < 7; ++i) {
        std::string_view digits = name.substr(kParts[i].at, kParts[i].digits);
        if (!take_number(digits, parts[i]) || !digits.empty()) return no_name;
    }
    const std::chrono::year_month_day date{std::chrono::year(parts[0]),
                                           std::chrono::month(static_cast<unsigned>(parts[1])),
                                           std::chrono::day(static_cast<unsigned>(parts[2]))};
    if (!date.ok()) return no_name;
    return Time(std::chrono::sys_days(date)) + std::chrono::hours(parts[3]) + std::chrono::minutes(parts[4]) +
           std::chrono::seconds(parts[5]) + Milliseconds(parts[6]);
}

Result<crypto::Sha256Digest> parse_digest(std::string_view hex) {
    crypto::Sha256Digest out{};
    if (hex.size() != 2 * out.size()) return Error(Errc::invalid, "a digest has 64 digits");
    for (std::size_t i = 0; i < out.size(); ++i) {
        const char* const start = hex.data() + 2 * i;
        const auto [end, failed] = std::from_chars(start, start + 2, out[i], 16);
        if (failed != std::errc() || end != start + 2) return Error(Errc::invalid, "a digest has 64 digits");
    }
    return out;
}

}  // namespace posthouse::storage::backup
