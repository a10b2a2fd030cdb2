#include "protocols/mime/facts.h"

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/mime/charset.h"
#include "protocols/mime/date.h"
#include "protocols/mime/encoded_word.h"
#include "protocols/mime/envelope.h"
#include "protocols/mime/header.h"
#include "protocols/mime/structure.h"

namespace posthouse::mime {
namespace {

/// What a list shows of an address: its name, else the address.
std::string short_form(const Address& address) {
    if (!address.display_name.empty()) return decode_encoded_words(address.display_name);
    return repair_utf8(address.spec());
}

/// The names of a list, joined until there is enough to show.
std::string short_list(const std::vector<Address>& addresses, std::size_t names_max) {
    std::string out;
    for (const Address& address : addresses) {
        if (address.kind == Address::Kind::group_end) continue;
        if (names_max == 0 || out.size() >= kFactOctetsMax) break;
        if (!out.empty()) out += ", ";
        out += short_form(address);
        --names_max;
    }
    return std::string(cut_utf8(out, kFactOctetsMax));
}

/// The first msg-id of a field, with its angle brackets (RFC 5322 3.6.4); a value without them is taken whole.
std::string first_id(const std::optional<std::string>& value) {
    if (!value) return {};
    const auto open = value->find('<');
    const auto close = open == std::string::npos ? open : value->find('>', open);
    const std::string id = close == std::string::npos ? *value : value->substr(open, close - open + 1);
    return id.size() <= kFactOctetsMax ? id : id.substr(0, kFactOctetsMax);
}

}  // namespace

MessageFacts compute_facts(std::string_view message) {
    // The header is read twice, here and as that of the root part: at 0.3 us that is cheaper than sharing it.
    MessageFacts out;
    std::size_t header_octets = 0;
    const Fields fields = parse_fields(message, &header_octets);
    const Envelope envelope = envelope_from(fields);
    out.envelope = format_imap_envelope(envelope);
    out.structure = encode_structure(parse_structure(message));
    if (envelope.subject) {
        const std::string subject = decode_encoded_words(*envelope.subject);
        out.subject = cut_utf8(subject, kFactOctetsMax);
    }
    out.from = short_list(envelope.from, 1);
    out.to = short_list(envelope.to, kFactOctetsMax);
    out.message_id = first_id(envelope.message_id);
    out.in_reply_to = first_id(envelope.in_reply_to);
    if (envelope.date) {
        if (const auto date = parse_date(*envelope.date)) out.date = date->utc;
    }
    out.size_octets = message.size();
    out.header_octets = static_cast<std::uint32_t>(std::min<std::size_t>(header_octets, UINT32_MAX));
    out.received_hops = static_cast<std::uint32_t>(std::count_if(
        fields.begin(), fields.end(), [](const Field& f) { return ascii::equals_ci(f.name, "Received"); }));
    return out;
}

}  // namespace posthouse::mime
