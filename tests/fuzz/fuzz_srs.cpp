/// Bounce addresses of anybody's making: none of them is turned back, and those of our own always are.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "protocols/mailauth/srs.h"

using namespace posthouse;
using namespace posthouse::mailauth;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const SrsKeys keys = srs_keys("a sealing key of the fuzzer");
    const Time now = from_unix_ms(1'780'000'000'000);
    if (srs_reverse(keys, text, now)) std::abort();  // 35 bits: not by chance, in the time a fuzzer has
    const std::size_t at = text.find('@');
    if (at == std::string_view::npos || text.substr(0, at).contains('=')) return 0;
    const SrsMailbox sender{std::string(text.substr(0, at)), "b.example"};
    const auto made = srs_forward(keys, sender, now);
    if (!made) return 0;
    if (made->size() > kLocalPartOctetsMax) std::abort();
    const auto back = srs_reverse(keys, *made, now);
    if (!back || !(*back == sender)) std::abort();
    return 0;
}
