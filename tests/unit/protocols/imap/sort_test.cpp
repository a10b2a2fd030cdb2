#include "protocols/imap/sort.h"

#include <doctest/doctest.h>

#include "protocols/imap/envelope_text.h"
#include "protocols/imap/sequence_set.h"
#include "protocols/mime/envelope.h"
#include "protocols/mime/header.h"

using namespace posthouse;
using namespace posthouse::imap;

namespace {

std::string envelope_of(std::string_view header) {
    return mime::format_imap_envelope(mime::envelope_from(mime::parse_fields(header)));
}

}  // namespace

TEST_CASE("SORT criteria, RFC 5256 5") {
    struct Case {
        std::string_view input;
        bool good;
        SortNeeds needs;
    };
    constexpr Case kCases[] = {
        {"(ARRIVAL)", true, SortNeeds::memory},
        {"(size reverse arrival)", true, SortNeeds::memory},
        {"(REVERSE DATE SIZE)", true, SortNeeds::date},
        {"(SUBJECT REVERSE DATE)", true, SortNeeds::envelope},
        {"(DISPLAYFROM DISPLAYTO CC FROM TO)", true, SortNeeds::envelope},
        {"()", false, {}},
        {"DATE", false, {}},
        {"(REVERSE)", false, {}},
        {"(REVERSE REVERSE DATE)", false, {}},
        {"(DATE", false, {}},
        {"(COLOUR)", false, {}},
        {"(DATE DATE DATE DATE DATE DATE DATE DATE DATE DATE DATE DATE DATE DATE DATE DATE DATE)", false, {}},
    };
    for (const Case& c : kCases) {
        CAPTURE(c.input);
        Cursor in(c.input);
        const auto criteria = take_sort_criteria(in);
        CHECK(criteria.has_value() == c.good);
        if (criteria) CHECK((needs_of(*criteria) == c.needs && in.at_end()));
    }
}

TEST_CASE("single things are read out of an ENVELOPE, whatever stands in it") {
    const std::string envelope = envelope_of(
        "Date: x \"quoted\\\" y\r\nSubject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?= \"x\"\r\n"
        "From: =?utf-8?Q?J=C3=BCrgen?= <j@a.test>, b@b.test\r\nTo: friends: c@c.test;\r\n"
        "Cc: \"with \\\"quotes\\\" (and) more\" <d@d.test>\r\n\r\n");
    CHECK(envelope_subject(envelope) == "=?utf-8?Q?Gr=C3=BC=C3=9Fe?= \"x\"");
    CHECK(first_address(envelope, EnvelopeList::from).mailbox == "j");
    CHECK(display_name(first_address(envelope, EnvelopeList::from)) == "J\xC3\xBCrgen");
    CHECK(first_address(envelope, EnvelopeList::to).mailbox == "friends");
    CHECK(display_name(first_address(envelope, EnvelopeList::to)) == "friends");
    CHECK(display_name(first_address(envelope, EnvelopeList::cc)) == "with \"quotes\" (and) more");
    CHECK(display_name(first_address(envelope, EnvelopeList::bcc)).empty());
    const std::string raw = envelope_of("Subject: raw \xFC octets\r\nFrom: a@a.test\r\nCc: z@z.test\r\n\r\n");
    CHECK(envelope_subject(raw) == "raw \xFC octets");
    CHECK(display_name(first_address(raw, EnvelopeList::from)) == "a@a.test");
    CHECK(first_address(raw, EnvelopeList::cc).mailbox == "z");
    // Any cut of it reads as something, never past its end.
    for (std::size_t end = 0; end < envelope.size(); ++end) {
        const std::string cut = envelope.substr(0, end);
        static_cast<void>(envelope_subject(cut));
        static_cast<void>(first_address(cut, EnvelopeList::bcc));
    }
    CHECK(first_address("(NIL {99999999999999999999}\r\n", EnvelopeList::from).mailbox.empty());
}

TEST_CASE("the order of messages, RFC 5256 3 and RFC 5957 4") {
    struct Input {
        std::uint32_t number;
        std::int64_t arrival_s, sent_ms;
        std::uint64_t size_octets;
        std::string_view header;
    };
    const Input kInputs[] = {
        {1, 50, 5000, 10, "Subject: Re: beta\r\nFrom: zoe@a.test\r\nTo: Adam <x@a.test>\r\n\r\n"},
        {2, 40, 1000, 10, "Subject: =?utf-8?Q?=C3=84pfel?=\r\nFrom: \"Anna B\" <y@a.test>\r\nTo: b@a.test\r\n\r\n"},
        {3, 30, -5000, 30, "Subject: BETA\r\nFrom: =?utf-8?Q?anna_a?= <X@a.test>\r\nCc: k@a.test\r\n\r\n"},
        {4, 20, 5000, 20, "From: <x@b.test>\r\nTo: c@a.test\r\n\r\n"},
        {5, 10, 2000, 5, "Subject: alpha\r\n\r\n"},
    };
    struct Case {
        std::string_view criteria;
        std::string_view order;
    };
    constexpr Case kCases[] = {
        {"(ARRIVAL)", "5,4,3,2,1"},
        {"(REVERSE ARRIVAL)", "1:5"},
        {"(DATE)", "3,2,5,1,4"},
        {"(REVERSE DATE)", "1,4:5,2:3"},
        {"(SIZE)", "5,1:2,4,3"},
        {"(REVERSE SIZE)", "3:4,1:2,5"},  // ties stay in the order of the mailbox
        {"(REVERSE SIZE REVERSE ARRIVAL)", "3:4,1:2,5"},
        {"(SUBJECT)", "4:5,2,1,3"},  // U+00C4 is A and a combining mark, behind "AL" and before "B"
        {"(SUBJECT REVERSE DATE)", "4:5,2,1,3"},
        {"(SUBJECT DATE)", "4:5,2:3,1"},
        {"(REVERSE SUBJECT)", "1,3,2,5,4"},
        {"(FROM)", "5,3:4,2,1"},  // absent is empty and comes first
        {"(TO)", "3,5,2,4,1"},
        {"(CC)", "1:2,4:5,3"},
        {"(DISPLAYFROM)", "5,3,2,4,1"},
        {"(DISPLAYTO)", "3,5,1:2,4"},
    };
    for (const Case& c : kCases) {
        CAPTURE(c.criteria);
        Cursor in(c.criteria);
        Sorter sorter(*take_sort_criteria(in));
        for (const Input& input : kInputs) {
            const std::string envelope = envelope_of(input.header);
            SortMessage message;
            message.number = input.number;
            message.arrival_s = input.arrival_s;
            message.sent_ms = input.sent_ms;
            message.size_octets = input.size_octets;
            message.envelope = envelope;
            sorter.add(message);
        }
        CHECK(sorter.octets() > 0);
        CHECK(format_set(sorter.finish()) == c.order);
    }
}
