#include "server/submission/rules.h"

#include "protocols/base/ascii.h"
#include "protocols/mime/address.h"
#include "protocols/mime/build.h"
#include "protocols/mime/date.h"

namespace posthouse::submission {

namespace {

std::size_t count(const mime::Fields& fields, std::string_view name) {
    std::size_t found = 0;
    for (const mime::Field& field : fields) {
        if (ascii::equals_ci(field.name, name)) ++found;
    }
    return found;
}

smtp::Reply refuse(std::string_view text) { return smtp::Reply(550, "5.6.0", text); }

}  // namespace

Verdict check_header(const mime::Fields& fields, std::string_view hostname, Time now, Random& random) {
    const auto from = mime::find_first(fields, "From");
    if (!from) return Verdict(refuse("The message has no From field"));
    // RFC 5322 3.6: each of these at most once. Two readers of two From fields see two different authors.
    for (const std::string_view name : {"From", "Sender", "Date", "Message-ID", "Subject", "Reply-To"}) {
        if (count(fields, name) > 1) {
            return Verdict(refuse("The message has more than one " + std::string(name) + " field"));
        }
    }
    const auto author = mime::parse_single_mailbox(*from);
    if (!author) return Verdict(refuse("From must hold exactly one address"));

    Verdict out;
    out.author = smtp::Path(author->local_part, author->domain);
    if (count(fields, "Date") == 0) {
        out.added += "Date: " + mime::format_rfc5322(now) + "\r\n";
    }
    if (count(fields, "Message-ID") == 0) {
        out.added += "Message-ID: " + mime::make_message_id(random, now, hostname) + "\r\n";
    }
    return out;
}

bool is_dropped_field(std::string_view name) {
    return ascii::equals_ci(name, "Bcc") || ascii::equals_ci(name, "Resent-Bcc") || ascii::equals_ci(name, kKeyField) ||
           ascii::equals_ci(name, kStreamField);
}

bool is_for_many(const mime::Fields& fields) {
    for (const std::string_view name : {"List-Id", "List-Unsubscribe", "List-Post", "List-Help"}) {
        if (mime::find_first(fields, name)) return true;
    }
    const auto precedence = mime::find_first(fields, "Precedence");
    if (!precedence) return false;
    const std::string word = mime::unfold(*precedence);
    return ascii::equals_ci(word, "bulk") || ascii::equals_ci(word, "list") || ascii::equals_ci(word, "junk");
}

}  // namespace posthouse::submission
