#pragma once
/// tests/unit/admin/transfer_imap/fake_imap: an IMAP server of one folder that says what a test wants, over any Stream.
/// Odd behaviour is a field; a connection may be cut after so many octets of output.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/ascii.h"
#include "protocols/net/buffered_stream.h"

namespace posthouse::test {

class FakeImap {
 public:
    struct Message {
        std::uint32_t uid = 0;
        std::string flags;
        std::string body;
    };
    std::vector<Message> messages;
    std::uint32_t uid_validity = 7;
    std::string capabilities = "IMAP4rev1 AUTH=PLAIN SASL-IR";
    std::string list = "* LIST () NIL INBOX\r\n";
    std::size_t cut_after = SIZE_MAX;           ///< octets of output of the next connection; then all others are whole
    std::map<std::string, std::string> once;    ///< command prefix -> whole answer, "%t" is the tag
    std::map<std::string, std::string> before;  ///< command prefix -> untagged text before the answer, once
    std::map<std::uint32_t, std::string> bodies;  ///< UID -> what stands behind BODY[], in place of the literal
    std::string greeting = "* OK hello\r\n";
    std::vector<std::string> lines;  ///< all that was said to us, without tags
    int connections = 0;

    void add(std::uint32_t uid, std::string flags = "") {
        messages.push_back(
            {uid, std::move(flags),
             fmt::format("Subject: {}\r\nMessage-ID: <{}@x.example>\r\n\r\nbody {}\r\n", uid, uid, uid)});
    }
    std::size_t count(std::string_view prefix) const {
        std::size_t found = 0;
        for (const std::string& line : lines) found += ascii::starts_with_ci(line, prefix) ? 1 : 0;
        return found;
    }

    net::Task<void> serve(std::unique_ptr<net::Stream> stream) {
        ++connections;
        net::BufferedStream io(std::move(stream));
        std::size_t left = cut_after;
        cut_after = SIZE_MAX;
        std::string out = greeting;
        for (;;) {
            const bool cut = out.size() > left;
            if (cut) out.resize(left);
            left -= out.size();
            if (!out.empty()) {
                const auto written = co_await io.write(out);
                if (!written) break;
            }
            if (cut) break;
            const auto line = co_await io.read_line(100'000);
            if (!line) break;
            const std::string said(*line);
            out = answer(said);
            if (out == "hang up") break;
        }
        io.raw().close();
    }

 private:
    std::string answer(const std::string& line) {
        const std::size_t blank = std::min(line.find(' '), line.size());
        const std::string tag = line.substr(0, blank);
        const std::string command = line.substr(std::min(blank + 1, line.size()));
        lines.push_back(command);
        for (auto at = once.begin(); at != once.end(); ++at) {
            if (!ascii::starts_with_ci(command, at->first)) continue;
            std::string out = at->second;
            once.erase(at);
            for (std::size_t t = out.find("%t"); t != std::string::npos; t = out.find("%t")) out.replace(t, 2, tag);
            return out;
        }
        std::string out;
        for (auto at = before.begin(); at != before.end(); ++at) {
            if (!ascii::starts_with_ci(command, at->first)) continue;
            out = at->second;
            before.erase(at);
            break;
        }
        return out + data(command) + tag + " OK done\r\n";
    }

    std::string data(const std::string& command) const {
        if (command == "CAPABILITY") return "* CAPABILITY " + capabilities + "\r\n";
        if (command.starts_with("LIST")) return list;
        if (command.starts_with("STATUS")) return fmt::format("* STATUS INBOX (MESSAGES {})\r\n", messages.size());
        if (command.starts_with("EXAMINE")) {
            return fmt::format("* FLAGS (\\Seen)\r\n* {} EXISTS\r\n* 0 RECENT\r\n* OK [UIDVALIDITY {}] valid\r\n",
                               messages.size(), uid_validity);
        }
        if (command.starts_with("FETCH ")) return listing(command.substr(6));
        if (command.starts_with("UID FETCH ")) return fetched(command.substr(10));
        return "";
    }

    std::string listing(const std::string& args) const {
        const auto colon = args.find(':');
        const auto first = ascii::parse_number(args.substr(0, colon)).value_or(0);
        const auto last = ascii::parse_number(args.substr(colon + 1, args.find(' ') - colon - 1)).value_or(0);
        std::string out;
        for (std::uint64_t n = first; n <= last && n <= messages.size() && n > 0; ++n) {
            const Message& m = messages[static_cast<std::size_t>(n - 1)];
            out += fmt::format(
                "* {} FETCH (UID {} FLAGS ({}) INTERNALDATE \"01-Mar-2019 03:04:05 +0000\" "
                "RFC822.SIZE {})\r\n",
                n, m.uid, m.flags, m.body.size());
        }
        return out;
    }

    std::string fetched(const std::string& args) const {
        std::string out;
        std::string_view set = std::string_view(args).substr(0, args.find(' '));
        while (!set.empty()) {
            const std::string_view one = set.substr(0, set.find(','));
            set.remove_prefix(std::min(set.size(), one.size() + 1));
            const std::size_t colon = one.find(':');
            const auto first = ascii::parse_number(one.substr(0, colon)).value_or(0);
            const auto last =
                colon == std::string_view::npos ? first : ascii::parse_number(one.substr(colon + 1)).value_or(0);
            for (std::size_t i = 0; i < messages.size(); ++i) {
                const Message& m = messages[i];
                if (m.uid < first || m.uid > last) continue;
                const auto odd = bodies.find(m.uid);
                const std::string body =
                    odd != bodies.end() ? odd->second : fmt::format("{{{}}}\r\n{}", m.body.size(), m.body);
                out += fmt::format("* {} FETCH (BODY[] {} UID {})\r\n", i + 1, body, m.uid);
            }
        }
        return out;
    }
};

}  // namespace posthouse::test
