/// What a refusal means, whoever words it. The first line is the host, the second begins with the code.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "protocols/bounce/reply_class.h"
#include "protocols/bounce/reply_hint.h"
#include "protocols/smtp/reply.h"

using namespace posthouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view rest(reinterpret_cast<const char*>(data), size);
    const std::size_t line = std::min(rest.find('\n'), rest.size());
    bounce::ReplyFacts facts;
    facts.host = rest.substr(0, line);
    rest.remove_prefix(std::min(line + 1, rest.size()));
    smtp::ReplyParser parser;
    smtp::Reply reply;
    const auto last = parser.add_line(rest.substr(0, rest.find("\r\n")));
    if (last && *last) {
        reply = parser.take();
        facts.code = static_cast<unsigned>(reply.code);
        facts.enhanced = reply.enhanced;
    }
    facts.text = rest;
    for (const bool first : {false, true}) {
        facts.first_contact = first;
        const bounce::Classification found = bounce::classify(facts);
        if (bounce::to_string(found.what).empty()) std::abort();
        if (found.wait && (*found.wait < bounce::kHintMin || *found.wait > bounce::kHintMax)) std::abort();
        if (bounce::is_dead_address(found) && !found.permanent) std::abort();
        (void)bounce::fault_of(found.what);
    }
    return 0;
}
