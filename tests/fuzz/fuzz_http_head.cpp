/// The head of an answer over HTTP, read as the client reads it; and URLs of policies and reports.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "protocols/http/head.h"

using namespace posthouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view rest(reinterpret_cast<const char*>(data), size);
    if (const auto request = http::request_for(rest)) {
        const auto head = http::format_head(*request);
        // A URL that was taken makes one request and no more.
        if (head && head->find("\r\n\r\n") + 4 != head->size()) std::abort();
    }
    http::Response response;
    const auto take_line = [&rest] {
        const std::size_t end = std::min(rest.find("\r\n"), rest.size());
        const std::string_view line = rest.substr(0, end);
        rest.remove_prefix(std::min(end + 2, rest.size()));
        return line;
    };
    const auto status = http::parse_status_line(take_line());
    if (!status) return 0;
    if (*status < 100 || *status > 999) std::abort();
    response.status = *status;
    while (!rest.empty()) {
        const std::string_view line = take_line();
        if (line.empty()) break;
        auto field = http::parse_field_line(line);
        if (!field) return 0;
        if (field->first.empty() || field->second.contains('\n')) std::abort();
        response.fields.push_back(*std::move(field));
    }
    (void)response.media_type();
    const auto framing = http::framing_of(response, "GET");
    if (framing && framing->chunked && framing->octets) std::abort();
    (void)http::parse_chunk_size(take_line());
    return 0;
}
