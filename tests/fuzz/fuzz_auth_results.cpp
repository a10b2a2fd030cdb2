/// Authentication-Results: of others, read and taken off; of ours, written from whatever was found.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "protocols/mailauth/auth_results.h"

using namespace posthouse::mailauth;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    constexpr std::string_view kOurs = "mx.home.example";
    // Whatever a stranger sends, nothing that claims to be ours is left.
    const std::string kept = remove_foreign(text, kOurs);
    if (remove_foreign(kept, kOurs) != kept) std::abort();
    const auto read = parse_auth_results(text);
    if (!read) return 0;
    if (read->authserv_id.empty() || read->results.size() > kAuthResultsMax) std::abort();
    (void)read->result_of("dmarc");
    // What we write of it is one field, and is read as what it was made from.
    const std::string field = format_auth_results(kOurs, read->results);
    if (!field.ends_with("\r\n")) std::abort();
    for (std::size_t at = field.find("\r\n"); at + 2 < field.size(); at = field.find("\r\n", at + 2)) {
        if (field[at + 2] != '\t') std::abort();
    }
    const auto again = parse_auth_results(std::string_view(field).substr(field.find(':') + 1));
    if (!again || again->authserv_id != kOurs || again->results.size() != read->results.size()) std::abort();
    return 0;
}
