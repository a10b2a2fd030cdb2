// UIDBATCHES (RFC 10022): ranges of UIDs that hold so many messages each, so that a client can go through a mailbox in
// pieces of even size without message numbers. No entry is read: numbers as the client knows them are the count.
#include <array>

#include "protocols/imap/grammar.h"
#include "protocols/imap/response.h"
#include "server/imap/session.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

struct BatchArguments {
    std::uint32_t size = 0;
    std::uint64_t first = 1;  // places of batches, the newest is 1
    std::uint64_t last = 0;   // 0: to the end
};

// uidbatches = "UIDBATCHES" SP nz-number [SP nz-number ":" nz-number]
Result<BatchArguments> take_batches(Cursor args) {
    BatchArguments out;
    TRY(out.size, wire::take_nz_number(args));
    if (args.take(' ')) {
        TRY(out.first, wire::take_nz_number(args));
        if (!args.take(':')) return Error(Errc::invalid, "Range of batches expected");
        TRY(out.last, wire::take_nz_number(args));
        if (out.first > out.last) return Error(Errc::invalid, "Range of batches must ascend");
    }
    TRY_VOID(wire::take_end(args));
    return out;
}

// " 50:38,37:28": each from its highest UID to its lowest, the newest batch first; the oldest reaches down to 1.
std::string format_batches(const Selected& selected, const BatchArguments& wanted, std::uint64_t last) {
    std::string out;
    for (std::uint64_t place = wanted.first; place <= last; ++place) {
        const std::uint64_t above = (place - 1) * wanted.size;  // messages that are newer
        const auto high = static_cast<std::uint32_t>(selected.exists() - above);
        out += out.empty() ? ' ' : ',';
        wire::append_number(out, selected.uid_of(high));
        out += ':';
        wire::append_number(out, high <= wanted.size ? 1 : selected.uid_of(high - wanted.size + 1));
    }
    return out;
}

net::Task<Reply> on_uidbatches(Session& session, Cursor args) {
    const auto wanted = take_batches(args);
    if (!wanted) co_return syntax(wanted.error());
    const Selected& selected = session.selected();
    const std::uint64_t all = (std::uint64_t{selected.exists()} + wanted->size - 1) / wanted->size;
    const std::uint64_t last = wanted->last == 0 ? all : std::min(all, wanted->last);
    if (last >= wanted->first && last - wanted->first >= session.limits().uid_batches_max) {
        co_return Reply::no("TOOMANY", "Too many batches; ask for larger ones, or for a range of them");
    }
    session.untagged("UIDBATCHES (TAG \"" + session.tag() + "\")" + format_batches(selected, *wanted, last));
    co_return Reply::ok("Batches listed");
}

constexpr std::array<Command, 1> kCommands = {{
    {"UIDBATCHES", kSelected, Expunges::told, "UIDBATCHES", on_uidbatches, "10022"},
}};

}  // namespace

std::span<const Command> batch_commands() { return kCommands; }

}  // namespace posthouse::server::imap
