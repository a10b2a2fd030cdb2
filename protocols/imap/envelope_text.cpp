#include "protocols/imap/envelope_text.h"

#include "protocols/base/cursor.h"
#include "protocols/imap/grammar.h"
#include "protocols/mime/encoded_word.h"

namespace posthouse::imap {

namespace {

// nstring, its octets left where they are. False at the end and for what is none.
bool skip_nstring(Cursor& in) {
    if (in.take_word("NIL")) return true;
    if (in.take('{')) {
        std::size_t octets = 0;
        while (ascii::is_digit(in.peek()) && octets < in.rest().size()) {
            octets = octets * 10 + static_cast<std::size_t>(in.take_octets(1).front() - '0');
        }
        if (!in.take("}\r\n")) return false;
        return in.take_octets(octets).size() == octets;
    }
    if (!in.take('"')) return false;
    while (!in.at_end()) {
        in.take_while([](char c) { return c != '"' && c != '\\'; });
        if (in.take('"')) return true;
        in.take_octets(2);
    }
    return false;
}

// "(" 1*address ")" / nil; an address is a list of four strings.
bool skip_list(Cursor& in) {
    if (in.take_word("NIL")) return true;
    if (!in.take('(')) return false;
    while (in.take('(')) {
        while (!in.take(')')) {
            if (!in.take(' ') && !skip_nstring(in)) return false;
        }
        in.take(' ');
    }
    return in.take(')');
}

std::string text_of(Cursor& in) {
    auto text = take_nstring(in);
    return text && *text ? **std::move(text) : std::string();
}

}  // namespace

std::string envelope_subject(std::string_view envelope) {
    Cursor in(envelope);
    if (!in.take('(') || !skip_nstring(in) || !in.take(' ')) return {};
    return text_of(in);
}

EnvelopeAddress first_address(std::string_view envelope, EnvelopeList list) {
    EnvelopeAddress out;
    Cursor in(envelope);
    if (!in.take('(') || !skip_nstring(in) || !in.take(' ') || !skip_nstring(in) || !in.take(' ')) return out;
    for (int place = static_cast<int>(EnvelopeList::from); place < static_cast<int>(list); ++place) {
        if (!skip_list(in) || !in.take(' ')) return out;
    }
    // address = "(" addr-name SP addr-adl SP addr-mailbox SP addr-host ")"
    if (!in.take("((")) return out;
    out.name = text_of(in);
    if (!in.take(' ') || !skip_nstring(in) || !in.take(' ')) return out;
    out.mailbox = text_of(in);
    if (in.take(' ')) out.host = text_of(in);
    return out;
}

std::string display_name(const EnvelopeAddress& address) {
    if (std::string name = mime::decode_encoded_words(address.name); !name.empty()) return name;
    return address.host.empty() ? address.mailbox : address.mailbox + '@' + address.host;
}

}  // namespace posthouse::imap
