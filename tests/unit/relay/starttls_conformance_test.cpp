// What remote servers did wrong around STARTTLS in "Why TLS is better without STARTTLS" (USENIX Security 2021), case
// by case from conformance/smtp-starttls: under a demand for TLS nothing leaves in clear; without one mail may go on,
// but no answer that was slipped in ahead of the handshake counts.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "tests/unit/relay/tls_house.h"

namespace posthouse::relay {
namespace {

std::filesystem::path conformance() {
    const char* root = std::getenv("POSTHOUSE_CONFORMANCE");
    return std::filesystem::path(root != nullptr ? root : "../shared/conformance") / "smtp-starttls/testcases";
}

// Of the Rust notation only what the six files use: name: value, with comment lines passed over.
std::string value_of(const std::string& text, const std::string& name, char open, char close) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        const std::size_t at = line.find(name + ":");
        const std::size_t comment = line.find("//");
        if (at == std::string::npos || (comment != std::string::npos && comment < at)) continue;
        const std::size_t from = line.find(open, at);
        const std::size_t to = line.rfind(close);
        if (from != std::string::npos && to > from) return line.substr(from + 1, to - from - 1);
    }
    return {};
}

struct Script {
    bool offers_starttls = false;
    bool knows_ehlo = true;
    std::string starttls_reply;  ///< "" for a proper one
    bool goes_on = true;         ///< a handshake follows the reply
};

Script read_script(const std::filesystem::path& file) {
    std::ifstream in(file);
    std::ostringstream text;
    text << in.rdbuf();
    Script out;
    out.offers_starttls = value_of(text.str(), "capabilities", '[', ']').contains("StartTLS");
    out.knows_ehlo = !value_of(text.str(), "hide_commands", '[', ']').contains("ehlo");
    out.starttls_reply = value_of(text.str(), "stls_response", '"', '"');
    if (out.starttls_reply.ends_with("\\r\\n")) out.starttls_reply.resize(out.starttls_reply.size() - 4);
    out.goes_on = !text.str().contains("stls_make_transition: false");
    return out;
}

void play(const Script& script, test::ScriptedRemote& remote) {
    remote.keywords = {"8BITMIME"};
    if (script.offers_starttls) remote.keywords.push_back("STARTTLS");
    remote.keywords_tls = {"8BITMIME"};
    if (!script.knows_ehlo) remote.always("EHLO", "502 5.5.1 Command not implemented");
    if (!script.starttls_reply.empty()) remote.always("STARTTLS", script.starttls_reply);
    if (!script.goes_on) remote.tls = nullptr;
}

}  // namespace

TEST_CASE("conformance/smtp-starttls: every case, with a demand for TLS and without") {
    if (!std::filesystem::exists(conformance())) {
        MESSAGE("skipped: the vectors of smtp-starttls are not here; set POSTHOUSE_CONFORMANCE");
        return;
    }
    std::size_t cases = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(conformance())) {
        if (entry.path().extension() != ".ron") continue;
        ++cases;
        const std::string name = entry.path().stem();
        CAPTURE(name);
        const Script script = read_script(entry.path());
        const bool is_injection = name == "B_1";
        for (const bool demanded : {true, false}) {
            CAPTURE(demanded);
            TlsHouse house;
            play(script, house.remote);
            // The step that the file leaves in a comment: an answer in the same segment as the 220.
            if (is_injection) house.remote.always("STARTTLS", "220 Ready to start TLS\r\n250-evil\r\n250 SMTPUTF8");
            if (demanded) house.sign_b();
            house.open();
            const auto id = house.submit("bob@b.example");
            house.settle();
            const bool in_clear = house.remote.count("MAIL") > 0 && !house.last(id).contains("TLSv1.3");
            CHECK_FALSE((demanded && in_clear));
            if (is_injection) {
                CHECK(house.remote.messages.size() == 1);
                CHECK(house.last(id).contains("octets sent ahead of the TLS handshake were dropped"));
                CHECK_FALSE(house.last(id).contains("evil"));
            } else if (demanded) {
                CHECK(house.remote.messages.empty());
                CHECK(house.waiting() == 1);
            } else {
                CHECK(house.remote.messages.size() == 1);
            }
        }
    }
    CHECK(cases == 6);
}

}  // namespace posthouse::relay
