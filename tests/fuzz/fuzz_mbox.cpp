// Mail files from anywhere. First octet: how far the rest lies behind a message of ours (so that it meets the ends of
// the reader's window), and whether reading fails somewhere. What is read must not depend on where the file's parts
// lie, nothing is made up, and the reader always comes to an end.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "admin/transfer/mbox_marks.h"
#include "admin/transfer/mbox_reader.h"
#include "protocols/base/result.h"

namespace {

using namespace posthouse;
using transfer::MboxReader;

struct Message {
    std::string sender;
    std::optional<std::int64_t> time_s;
    std::string octets;
    bool operator==(const Message&) const = default;
};

struct Outcome {
    std::vector<Message> messages;
    bool failed = false;
    bool operator==(const Outcome&) const = default;
};

/// Offsets from `broken_at` on cannot be read.
Outcome read_all(std::string_view file, std::size_t broken_at) {
    MboxReader reader([&](std::uint64_t offset, std::span<char> into) -> Result<std::size_t> {
        if (offset + into.size() > broken_at && broken_at < file.size()) return Error(Errc::io, "the disk gave up");
        if (offset >= file.size()) return std::size_t{0};
        return file.substr(offset, into.size()).copy(into.data(), into.size());
    });
    Outcome out;
    std::uint64_t end_before = 0;
    std::size_t octets = 0;
    for (;;) {
        const auto more = reader.next();
        out.failed = !more;
        if (!more || !*more) break;
        ASSERT(reader.offset() >= end_before);
        ASSERT(reader.position() > reader.offset());
        ASSERT(reader.position() <= file.size());
        Message& message = out.messages.emplace_back();
        message.sender = reader.from_line().sender;
        message.time_s = reader.from_line().time_s;
        for (;;) {
            const auto piece = reader.piece();
            out.failed = !piece;
            if (!piece || piece->empty()) break;
            message.octets += *piece;
        }
        if (out.failed) break;
        octets += message.octets.size();
        end_before = reader.position();
    }
    ASSERT(reader.position() <= file.size());
    ASSERT(octets <= file.size());  // quoting is taken off, nothing is put in
    return out;
}

void read_marks(const std::string& message) {
    bool open_end = false;
    const std::size_t top = transfer::measure_top_marks(message, open_end);
    ASSERT(top <= message.size());
    const std::string_view text(message);
    const auto marks = transfer::parse_marks(text.substr(0, top), text.substr(top));
    ASSERT(marks.folder.size() + marks.labels.size() <= 4 * message.size() + 16);
    ASSERT(transfer::digest_without_marks(message).size() == 40);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::string_view file(reinterpret_cast<const char*>(data) + 1, size - 1);
    const Outcome whole = read_all(file, file.size());
    for (const Message& message : whole.messages) read_marks(message.octets);
    if ((data[0] & 1U) != 0) (void)read_all(file, file.size() * (data[0] / 2U) / 128);
    // Behind another message, across the ends of the window.
    if (whole.messages.empty() || !file.starts_with("From ")) return 0;
    constexpr std::size_t kWindowOctets = 256UL * 1024;
    std::string shifted = "From x@a.example Mon Nov 23 20:11:05 2026\nSubject: before\n\n";
    shifted.append(kWindowOctets - shifted.size() - 3 - 16UL * data[0], 'x');
    shifted += "\n\n";
    shifted += file;
    Outcome behind = read_all(shifted, shifted.size());
    ASSERT(!behind.messages.empty());
    behind.messages.erase(behind.messages.begin());
    ASSERT(behind == whole);
    return 0;
}
