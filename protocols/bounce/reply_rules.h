#pragma once
/// protocols/bounce: the rules as data. The first row whose every field fits decides; the rows stand in this order:
/// providers, names of lists and words about the address, words about signing, enhanced codes, words, bare codes.
#include <cstdint>
#include <span>
#include <string_view>

#include "protocols/bounce/reply_class.h"

namespace posthouse::bounce {

enum class Provider : std::uint8_t { any, google, microsoft, yahoo, apple, comcast, tonline, ionos, orange, tencent };
/// By the name of the host, or else by marks that only this provider puts into its replies.
Provider provider_of(std::string_view host, std::string_view words);

struct ReplyRule {
    std::string_view name;
    ReplyClass what;
    std::uint16_t code = 0;          ///< 0 any, 4 or 5 a class, 9 none (no reply was had), else this very code
    std::string_view enhanced = {};  ///< one of "x.7.28 5.7.1"; "none"; "vague": says little, or none
    std::string_view any = {};       ///< phrases between '|', one of them must stand in the text
    std::string_view also = {};      ///< likewise, beside `any`
    Provider provider = Provider::any;
    bool soft = false;  ///< worth trying again although the code is 5yz
    Pace pace = Pace::usual;
    bool alarm = false;  ///< told at once
};
std::span<const ReplyRule> provider_rules();  ///< looked at first
std::span<const ReplyRule> reply_rules();

}  // namespace posthouse::bounce
