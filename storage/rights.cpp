#include "storage/rights.h"

#include <array>

namespace posthouse::storage {
namespace {

struct RightRow {
    char letter;
    Right right;
};
constexpr std::array<RightRow, 11> kRights = {{
    {'l', Right::lookup},
    {'r', Right::read},
    {'s', Right::seen},
    {'w', Right::write},
    {'i', Right::insert},
    {'p', Right::post},
    {'k', Right::create},
    {'x', Right::remove},
    {'t', Right::mark_deleted},
    {'e', Right::expunge},
    {'a', Right::administer},
}};
constexpr Rights kOldCreate = any_of(Right::create, Right::remove);         // "c"
constexpr Rights kOldDelete = any_of(Right::expunge, Right::mark_deleted);  // "d"

}  // namespace

Result<Rights> parse_rights(std::string_view letters) {
    unsigned out = 0;
    for (const char letter : letters) {
        unsigned bits = letter == 'c' ? kOldCreate : letter == 'd' ? kOldDelete : 0U;
        for (const RightRow& row : kRights) {
            if (row.letter == letter) bits = static_cast<unsigned>(row.right);
        }
        if (bits == 0) return Error(Errc::invalid, "unknown right: rights are letters of lrswipkxtea");
        out |= bits;
    }
    return static_cast<Rights>(out);
}

std::string format_rights(Rights rights) {
    std::string out;
    for (const RightRow& row : kRights) {
        if (has(rights, row.right)) out += row.letter;
    }
    return out;
}

std::string format_rights_for_clients(Rights rights) {
    std::string out = format_rights(rights);
    if ((rights & kOldCreate) != 0) out += 'c';
    if ((rights & kOldDelete) != 0) out += 'd';
    return out;
}

}  // namespace posthouse::storage
