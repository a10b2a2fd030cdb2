// Any octets as a bounce and as a complaint: no crash, and what is read keeps the limits of protocols/report.
#include <cstdint>
#include <string_view>

#include "protocols/base/result.h"
#include "protocols/report/bounce_text.h"
#include "protocols/report/delivery_status.h"
#include "protocols/report/report.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace posthouse;
    const std::string_view message(reinterpret_cast<const char*>(data), size);
    if (const auto bounce = report::read_bounce(message)) {
        ASSERT(!bounce->recipients.empty() && bounce->recipients.size() <= report::kRecipientsMax);
        for (const report::BouncedRecipient& one : bounce->recipients) {
            ASSERT(!one.final_recipient.empty() && one.reply.size() <= report::kReplyOctetsMax);
            ASSERT(!one.hard || one.action == report::Action::failed);
        }
    }
    if (const auto complaint = report::read_complaint(message)) {
        ASSERT(complaint->recipients.size() <= report::kRecipientsMax);
    }
    static_cast<void>(report::parse_delivery_status(message));
    static_cast<void>(report::read_bounce_text(message));
    return 0;
}
