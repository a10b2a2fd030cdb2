// posthouse sendmail: stands in for /usr/sbin/sendmail. Programs call it with options of forty years: those that
// matter are obeyed, the others are taken and ignored.
#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <iostream>
#include <optional>

#include "admin/cli/command.h"
#include "protocols/base/log.h"
#include "protocols/mime/address.h"
#include "protocols/mime/build.h"
#include "protocols/mime/header.h"

namespace posthouse::admin {
namespace {

constexpr std::size_t kRecipientsMax = 1000;  // as in the limits of submission

struct Options {
    std::string config{kDefaultConfigFile};
    std::optional<std::string> sender;
    std::string full_name;
    bool recipients_from_header = false;  // -t
    bool dot_is_text = false;             // -i
    std::vector<std::string> recipients;
};

// Options whose value may stand in the next argument; those that are not named here have none.
constexpr std::string_view kWithValue = "fFrCBNRVXLhOopbdqADMI";
// Of these the value is always in the same argument (-oi, -bm, -q30m, -d21).
constexpr std::string_view kValueAttached = "obqd";

Result<std::size_t> take_option(Options& options, std::span<const std::string> arguments, std::size_t at) {
    const std::string& argument = arguments[at];
    if (argument == "--config" || argument.starts_with("--config=")) {
        const bool apart = argument.size() == 8;
        if (apart && at + 1 >= arguments.size()) return Error(Errc::invalid, "--config needs a file");
        options.config = apart ? arguments[at + 1] : argument.substr(9);
        return at + (apart ? 2U : 1U);
    }
    const char letter = argument[1];
    std::string value = argument.substr(2);
    std::size_t next = at + 1;
    const bool takes = kWithValue.find(letter) != std::string_view::npos;
    const bool attached = kValueAttached.find(letter) != std::string_view::npos;
    if (takes && !attached && value.empty()) {
        if (next >= arguments.size()) return Error(Errc::invalid, fmt::format("-{} needs a value", letter));
        value = arguments[next++];
    }
    switch (letter) {
        case 't': options.recipients_from_header = true; break;
        case 'i': options.dot_is_text = true; break;
        case 'o': options.dot_is_text |= value == "i"; break;
        case 'f':
        case 'r': options.sender = value == "<>" ? std::string() : value; break;
        case 'F': options.full_name = value; break;
        case 'C': options.config = value; break;
        case 'b':
            if (value != "m")
                return Error(Errc::invalid, fmt::format("-b{} is not offered; messages only (-bm)", value));
            break;
        default: break;
    }
    return next;
}

Result<Options> parse(std::span<const std::string> arguments) {
    Options out;
    if (const char* file = std::getenv("POSTHOUSE_CONFIG"); file != nullptr && *file != '\0') out.config = file;
    std::size_t at = 0;
    while (at < arguments.size()) {
        const std::string& argument = arguments[at];
        if (argument == "--") {
            out.recipients.insert(out.recipients.end(), arguments.begin() + static_cast<std::ptrdiff_t>(at) + 1,
                                  arguments.end());
            break;
        }
        if (argument.size() < 2 || argument[0] != '-') {
            out.recipients.push_back(argument);
            ++at;
            continue;
        }
        TRY(at, take_option(out, arguments, at));
    }
    if (out.recipients.empty() && !out.recipients_from_header) {
        return Error(Errc::invalid, "name the recipients, or say -t to take them from the header");
    }
    return out;
}

// Standard input up to its end, or to a line with a single dot unless that is text.
Result<std::string> read_message(bool dot_is_text) {
    std::string out;
    std::array<char, 65536> buffer{};
    while (std::cin.read(buffer.data(), buffer.size()) || std::cin.gcount() > 0) {
        out.append(buffer.data(), static_cast<std::size_t>(std::cin.gcount()));
        if (out.size() > kMessageOctetsMax) {
            return Error(Errc::too_large,
                         fmt::format("the message is larger than {}", format_octets(kMessageOctetsMax)));
        }
    }
    out = mime::normalise_crlf(out);
    if (!dot_is_text) {
        const std::size_t dot = out.starts_with(".\r\n") ? 0 : out.find("\r\n.\r\n");
        if (dot != std::string::npos) out.resize(dot == 0 ? 0 : dot + 2);
    }
    if (!out.empty() && !out.ends_with("\r\n")) out += "\r\n";
    if (out.empty()) return Error(Errc::invalid, "there is no message on standard input");
    // A message that starts with text has no header: an empty line makes it a body (as sendmail does).
    const auto fields = mime::parse_fields(out);
    if (fields.empty() && !out.starts_with("\r\n")) out.insert(0, "\r\n");
    return out;
}

void add_recipients(std::vector<std::string>& out, std::string_view field_value) {
    for (const mime::Address& address : mime::parse_address_list(field_value)) {
        if (address.kind == mime::Address::Kind::mailbox && !address.local_part.empty()) out.push_back(address.spec());
    }
}

// Who runs this, at this host: what a sender is without -f.
std::string own_address(const std::string& hostname) {
    const passwd* entry = ::getpwuid(::getuid());
    return fmt::format("{}@{}", entry == nullptr ? "nobody" : entry->pw_name, hostname);
}

std::string qualified(const std::string& address, const std::string& hostname) {
    return address.empty() || address.find('@') != std::string::npos ? address
                                                                     : fmt::format("{}@{}", address, hostname);
}

Result<std::string> hand_in(const Options& options, const CliHooks& hooks) {
    Output quiet(std::cout, Format::text);
    Invocation call(hooks, quiet, options.config);
    TRY(const Settings settings, call.settings());
    Submission out;
    TRY(out.message, read_message(options.dot_is_text));
    const auto fields = mime::parse_fields(out.message);
    out.recipients = options.recipients;
    if (options.recipients_from_header) {
        for (const std::string_view name : {"To", "Cc", "Bcc"}) {
            for (const std::string_view value : mime::find_all(fields, name)) add_recipients(out.recipients, value);
        }
        if (out.recipients.empty()) return Error(Errc::invalid, "the header names no recipient (To, Cc, Bcc)");
    }
    if (out.recipients.size() > kRecipientsMax) {
        return Error(Errc::limit, fmt::format("more than {} recipients; send it in parts", kRecipientsMax));
    }
    for (std::string& address : out.recipients) address = qualified(address, settings.hostname);
    out.sender = options.sender ? qualified(*options.sender, settings.hostname) : own_address(settings.hostname);
    if (!mime::find_first(fields, "From")) {
        mime::Address author;
        author.display_name = options.full_name;
        const std::string& from = out.sender.empty() ? own_address(settings.hostname) : out.sender;
        author.local_part = from.substr(0, from.rfind('@'));
        author.domain = from.substr(from.rfind('@') + 1);
        out.message = mime::add_field(out.message, "From", mime::HeaderValue::cleaned(mime::format_address(author)));
    }
    TRY(storage::Store* const store, call.store());
    return hooks.submit(*store, settings, out);
}

}  // namespace

int run_sendmail(std::span<const std::string> arguments, const CliHooks& hooks) {
    const auto options = parse(arguments);
    if (!options) {
        std::cerr << "posthouse sendmail: " << log::escape(options.error().context) << '\n';
        return 2;
    }
    const auto done = hand_in(*options, hooks);
    if (done) return 0;
    std::cerr << "posthouse sendmail: " << log::escape(done.error().context) << '\n';
    return 1;
}

}  // namespace posthouse::admin
