#include "storage/way_tokens.h"

#include <fmt/format.h>

#include <algorithm>

#include "storage/settings.h"
#include "storage/store.h"

namespace posthouse::storage {
namespace {

constexpr std::string_view kSetting = "return_path.tokens_by_way";
constexpr std::string_view kWords[] = {"off", "programs", "all"};

bool is_word(std::string_view word) { return std::ranges::find(kWords, word) != std::end(kWords); }

template <class Visit>
void for_each_pair(std::string_view setting, const Visit& visit) {
    while (!setting.empty()) {
        const std::size_t end = std::min(setting.find(' '), setting.size());
        const std::string_view pair = setting.substr(0, end);
        setting.remove_prefix(std::min(end + 1, setting.size()));
        const std::size_t mark = pair.rfind('=');
        if (mark != std::string_view::npos) visit(pair.substr(0, mark), pair.substr(mark + 1));
    }
}

}  // namespace

std::string tokens_of_way(std::string_view setting, std::string_view way) {
    std::string out;
    for_each_pair(setting, [&](std::string_view name, std::string_view word) {
        if (name == way && is_word(word)) out = word;
    });
    return out;
}

Result<> set_tokens_of_way(Tx& tx, std::string_view way, std::string_view word) {
    if (word == "on") word = "all";
    const bool is_default = word.empty() || word == "default";
    if (!is_default && !is_word(word)) {
        return Error(Errc::invalid,
                     fmt::format("\"{}\" is no rule for tokens; there are: on, programs, off, default", word));
    }
    TRY(const std::string before, setting_text(tx.catalog(), kSetting));
    std::string after;
    const auto add = [&](std::string_view name, std::string_view value) {
        after += fmt::format("{}{}={}", after.empty() ? "" : " ", name, value);
    };
    for_each_pair(before, [&](std::string_view name, std::string_view value) {
        if (name != way) add(name, value);
    });
    if (!is_default) add(way, word);
    return after == before ? Result<>() : tx.catalog().set_setting(kSetting, after);
}

}  // namespace posthouse::storage
