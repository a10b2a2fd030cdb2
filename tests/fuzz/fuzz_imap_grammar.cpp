// The IMAP wire language on any octets: nothing crashes, what is written is read back, limits hold.
#include <cstdint>
#include <string_view>

#include "protocols/imap/append.h"
#include "protocols/imap/fetch.h"
#include "protocols/imap/grammar.h"
#include "protocols/imap/mailbox_name.h"
#include "protocols/imap/modseq.h"
#include "protocols/imap/notify.h"
#include "protocols/imap/response.h"
#include "protocols/imap/search.h"
#include "protocols/imap/sequence_set.h"

static void read_append(std::string_view text) {
    using namespace posthouse::imap;
    static_cast<void>(opens_message(text, Follows::literal));
    static_cast<void>(AppendParser(Messages::many, {}).take(text, Follows::nothing));
    static_cast<void>(parse_message_url(text));
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace posthouse;
    if (size == 0) return 0;
    const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
    Cursor in(text);
    switch (data[0] % 6) {
        case 0:
            if (auto program = imap::take_search_program(in)) {
                const imap::SearchView view{.exists = 5, .uid_max = 50, .now_s = 0, .last_result = {}};
                imap::resolve_sets(*program, view);
                imap::SearchContent content([&] { return std::string(text); }, [&] { return std::string(text); });
                imap::SearchMessage message;
                message.number = 1;
                message.uid = 7;
                const imap::Match without = imap::judge(*program, message);
                message.content = &content;
                const imap::Match with = imap::judge(*program, message);
                ASSERT(with != imap::Match::unknown && (without == imap::Match::unknown || without == with));
            }
            break;
        case 1:
            if (const auto program = imap::take_fetch_program(in)) {
                imap::FetchSource source;
                source.size_octets = text.size();
                source.header_octets = mime::find_header_end(text);
                const auto structure = mime::parse_structure(text);
                source.structure = &structure;
                for (const imap::FetchUse& use : program->items) {
                    if (!use.item->section) continue;
                    const auto extent = imap::locate(use.section, source);
                    if (!extent) continue;
                    const mime::Extent part = imap::cut(use.section, *extent);
                    ASSERT(part.offset + part.octets <= text.size());
                    static_cast<void>(imap::choose_fields(
                        use.section, std::string(text.substr(static_cast<std::size_t>(part.offset),
                                                             static_cast<std::size_t>(part.octets)))));
                }
            }
            break;
        case 2:
            if (const auto set = imap::take_sequence_set(in)) {
                const auto ranges = imap::resolve(*set, 100);
                for (std::size_t i = 0; i < ranges.size(); ++i) {
                    ASSERT(ranges[i].first <= ranges[i].last && imap::contains(ranges, ranges[i].last));
                    ASSERT(i == 0 || std::uint64_t{ranges[i - 1].last} + 1 < ranges[i].first);
                }
            }
            break;
        case 3:
            if (const auto name = imap::decode_mailbox(text)) {
                const auto again = imap::decode_mailbox(imap::encode_mailbox(*name));
                ASSERT(again && *again == *name);
            }
            static_cast<void>(imap::matches_pattern(text.substr(0, text.size() / 2), text.substr(text.size() / 2)));
            break;
        case 4:
            read_append(text);
            static_cast<void>(imap::literal_at_end(text));
            break;
        default:
            if (const auto word = imap::take_astring(in)) {
                std::string out;
                imap::append_astring(out, *word);
                Cursor again(out);
                const auto same = imap::take_astring(again);
                ASSERT(same && *same == *word && again.at_end());
            }
            static_cast<void>(imap::take_date_time(in));
            static_cast<void>(imap::take_flag_list(in));
            in = Cursor(text);
            static_cast<void>(imap::take_notify(in));
            in = Cursor(text);
            static_cast<void>(imap::take_select_parameters(in));
            break;
    }
    return 0;
}
