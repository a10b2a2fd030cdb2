// What a hostile IMAP server may say to its client: nothing crashes, bounds hold, and where the packets are cut
// makes no
// difference to what is read.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "protocols/imap/client_response.h"

namespace {

using namespace posthouse;

std::string read_all(std::string_view octets, std::size_t step) {
    imap::ClientLimits limits;
    limits.response_octets_max = 4096;
    limits.literal_octets_max = 1024;
    imap::ResponseReader reader(limits);
    std::string out;
    for (std::size_t at = 0; at < octets.size(); at += step) {
        Cursor in(octets.substr(at, step));
        for (;;) {
            const auto event = reader.next(in);
            if (!event) return out + "!";
            ASSERT(reader.text().size() <= limits.response_octets_max + 32);
            if (event->kind == imap::ReaderEvent::Kind::more) break;
            if (event->kind == imap::ReaderEvent::Kind::body_begin) out += '<';
            if (event->kind == imap::ReaderEvent::Kind::body) out += event->octets;
            if (event->kind != imap::ReaderEvent::Kind::response) continue;
            out += reader.text();
            out += '\n';
            const auto response = imap::parse_response(reader.text(), reader.had_body(), limits);
            if (response && std::holds_alternative<imap::Fetched>(response->data)) {
                const auto& fetched = std::get<imap::Fetched>(response->data);
                ASSERT(!fetched.flags || fetched.flags->keywords.size() <= limits.keywords_max);
            }
        }
    }
    return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::string_view octets(reinterpret_cast<const char*>(data) + 1, size - 1);
    const std::string whole = read_all(octets, std::max<std::size_t>(octets.size(), 1));
    ASSERT(whole == read_all(octets, std::size_t{data[0]} % 16 + 1));
    return 0;
}
