#include "server/imap/offered.h"

#include <algorithm>
#include <array>

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

struct BitRow {
    std::uint8_t bit;
    std::string_view capability;
};
constexpr auto kListSelects = std::to_array<BitRow>({
    {wire::kSelectSpecialUse, "SPECIAL-USE"},
});
constexpr auto kListReturns = std::to_array<BitRow>({
    {wire::kReturnChildren, "CHILDREN"},
    {wire::kReturnSpecialUse, "SPECIAL-USE"},
    {wire::kReturnStatus, "LIST-STATUS"},
    {wire::kReturnMetadata, "LIST-METADATA"},
    {wire::kReturnMyRights, "LIST-MYRIGHTS"},
});

template <class Rows>
Result<> check_bits(const Session& session, std::uint8_t bits, const Rows& rows, std::string_view refusal) {
    for (const BitRow& row : rows) {
        if ((bits & row.bit) != 0) TRY_VOID(check_offered(session, row.capability, refusal));
    }
    return {};
}

}  // namespace

Result<> check_offered(const Session& session, std::string_view capabilities, std::string_view refusal) {
    if (capabilities.empty()) return {};
    while (!capabilities.empty()) {
        const std::size_t end = std::min(capabilities.find(' '), capabilities.size());
        if (session.offers(capabilities.substr(0, end))) return {};
        capabilities.remove_prefix(std::min(end + 1, capabilities.size()));
    }
    return Error(Errc::invalid, std::string(refusal));
}

Result<> check_offered(const Session& session, const wire::SequenceSet& set) {
    if (!set.last_result) return {};
    return check_offered(session, "SEARCHRES", "Invalid sequence set");
}

Result<wire::SequenceSet> take_set(const Session& session, Cursor& args) {
    TRY(wire::SequenceSet out, wire::take_sequence_set(args, session.limits()));
    TRY_VOID(check_offered(session, out));
    return out;
}

Result<> check_offered(const Session& session, const wire::FetchProgram& program,
                       const wire::FetchModifiers& modifiers) {
    constexpr std::string_view kModifier = "Unknown FETCH modifier";
    for (const wire::FetchUse& use : program.items) {
        TRY_VOID(check_offered(session, use.item->capability, "Unknown FETCH item"));
    }
    if (modifiers.changed_since) TRY_VOID(check_offered(session, "CONDSTORE", kModifier));
    if (modifiers.vanished) TRY_VOID(check_offered(session, "QRESYNC", kModifier));
    if (modifiers.partial) TRY_VOID(check_offered(session, "PARTIAL", kModifier));
    return {};
}

Result<> check_offered(const Session& session, const wire::SearchProgram& program) {
    for (const wire::SearchNode& node : program.nodes) {
        if (node.key != nullptr) TRY_VOID(check_offered(session, node.key->capability, "Unknown search key"));
        TRY_VOID(check_offered(session, node.set));
    }
    return {};
}

Result<> check_offered(const Session& session, const wire::SearchReturn& wanted, std::string_view extension) {
    if (!wanted.extended) return {};
    TRY_VOID(check_offered(session, extension, "RETURN is not known"));
    for (const wire::SearchReturnOption& row : wire::search_return_options()) {
        if (wanted.has(row.option)) TRY_VOID(check_offered(session, row.capability, "Unknown SEARCH return option"));
    }
    if (!wanted.update_fetch) return {};
    TRY_VOID(check_offered(session, "NOTIFY", "UPDATE takes no FETCH items"));
    for (const wire::FetchUse& use : wanted.update_fetch->items) {
        TRY_VOID(check_offered(session, use.item->capability, "Unknown FETCH item"));
    }
    return {};
}

Result<> check_offered(const Session& session, std::span<const wire::SortCriterion> criteria) {
    for (const wire::SortCriterion& one : criteria) {
        TRY_VOID(check_offered(session, one.key->capability, "Unknown sort key"));
    }
    return {};
}

Result<> check_offered(const Session& session, const wire::ListProgram& program) {
    if (!program.extended) return {};
    TRY_VOID(check_offered(session, "LIST-EXTENDED", "LIST takes a reference and a pattern"));
    TRY_VOID(check_bits(session, program.select, kListSelects, "Unknown selection option"));
    return check_bits(session, program.returns, kListReturns, "Unknown return option");
}

Result<> check_offered(const Session& session, const wire::SelectParameters& parameters) {
    constexpr std::string_view kUnknown = "Unknown parameter";
    if (parameters.condstore) TRY_VOID(check_offered(session, "CONDSTORE", kUnknown));
    if (parameters.resync) TRY_VOID(check_offered(session, "QRESYNC", kUnknown));
    return {};
}

Result<> check_offered(const Session& session, std::span<const StatusItem* const> items) {
    for (const StatusItem* item : items) {
        TRY_VOID(check_offered(session, item->capability, "Unknown status item"));
    }
    return {};
}

}  // namespace posthouse::server::imap
