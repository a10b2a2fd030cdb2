// ARC: the cases of the validation suite, chains of our own, and whom to believe.
#include "protocols/mailauth/arc.h"

#include <doctest/doctest.h>

#include "protocols/base/ascii.h"
#include "protocols/mailauth/verify.h"
#include "tests/support/fake_resolver.h"
#include "tests/support/loop_runner.h"
#include "tests/support/zone_resolver.h"

using namespace posthouse;
using namespace posthouse::mailauth;

namespace {

const Time kNow = from_unix_ms(1'780'000'000'000);

std::string with_crlf(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == '\n') out += '\r';
        out += c;
    }
    return out;
}

ArcChain verify(dns::Resolver& resolver, std::string_view message) {
    net::Loop loop;
    return test::run_task(loop, verify_arc(resolver, message));
}

// A sealer with a key of its own in the DNS.
struct Sealer {
    Sealer(test::FakeResolver& resolver, std::string name, crypto::SigningAlgorithm algorithm)
        : domain(std::move(name)), key(*crypto::SigningKey::generate(algorithm)) {
        resolver.add_txt("arc._domainkey." + domain, dkim_dns_record(key));
    }
    Result<std::string> seal(const std::string& message, const ArcSealing& sealing) const {
        DkimSigner signer;
        signer.domain = domain;
        signer.selector = "arc";
        signer.key = &key;
        const std::size_t end = mime::find_header_end(message);
        MessageSource source;
        source.header_block = std::string_view(message).substr(0, end);
        bool done = false;
        source.next_piece = [&]() -> Result<std::string_view> {
            if (done) return std::string_view();
            done = true;
            return std::string_view(message).substr(end);
        };
        return seal_arc(signer, std::move(source), sealing, kNow);
    }
    std::string domain;
    crypto::SigningKey key;
};

ArcSealing saying(ArcStatus chain, std::string results) {
    ArcSealing out;
    out.authserv_id = "mx.example";
    out.results = std::move(results);
    out.chain = chain;
    return out;
}

constexpr const char* kMessage =
    "From: Bob <bob@b.example>\r\nTo: list@l.example\r\nSubject: Hello\r\nDate: Thu, 14 Jan 2025 15:00:01 +0000\r\n"
    "Message-ID: <1@b.example>\r\n\r\nHello there.\r\n";

}  // namespace

TEST_CASE("the validation suite of Valimail") {
    const std::string folder = test::conformance_folder();
    if (folder.empty()) {
        MESSAGE("skipped: no conformance data");
        return;
    }
    const test::Json suite = test::load_yaml(folder + "/arc-valimail/arc-validation-handed.yml");
    std::size_t cases = 0;
    for (const test::Json& scenario : suite.items) {
        test::ZoneResolver resolver;
        for (const auto& [name, value] : scenario["txt-records"].members) resolver.add(name, "TXT", value.text);
        for (const auto& [name, one] : scenario["tests"].members) {
            CAPTURE(name);
            ++cases;
            const ArcChain chain = verify(resolver, with_crlf(one["message"].text));
            INFO(chain.reason);
            const std::string wanted = ascii::to_lower(ascii::trim(one["cv"].text));
            // An empty one means that a validator may stop early, with a fail or with nothing.
            if (wanted.empty()) {
                CHECK(chain.status != ArcStatus::pass);
            } else {
                CHECK(to_string(chain.status) == wanted);
            }
        }
    }
    if (!suite.items.empty()) CHECK(cases == 105);
}

TEST_CASE("what we seal passes, hop by hop, with either algorithm") {
    REQUIRE(crypto::init());
    test::FakeResolver resolver;
    const Sealer first(resolver, "l.example", crypto::SigningAlgorithm::rsa_sha256);
    const Sealer second(resolver, "m.example", crypto::SigningAlgorithm::ed25519_sha256);
    std::string message = kMessage;
    auto fields =
        first.seal(message, saying(ArcStatus::none, "\r\n\tspf=pass smtp.mailfrom=bob@b.example;\r\n\tdmarc=pass"));
    REQUIRE(fields);
    message = *fields + message;
    ArcChain chain = verify(resolver, message);
    INFO(chain.reason);
    REQUIRE(chain.status == ArcStatus::pass);
    REQUIRE(chain.sets.size() == 1);
    CHECK(chain.sets[0].sealer == "l.example");
    CHECK(chain.sets[0].authserv_id == "mx.example");
    CHECK(chain.sets[0].dmarc == "pass");

    // The list changes the subject: its own signature of the message is the one that counts.
    message.replace(message.find("Hello\r\n"), 5, "[list] Hello");
    CHECK(verify(resolver, message).status == ArcStatus::fail);
    message.replace(message.find("[list] Hello"), 12, "Hello");
    fields = second.seal(message, saying(ArcStatus::pass, " dmarc=fail; arc=pass"));
    REQUIRE(fields);
    message = *fields + message;
    chain = verify(resolver, message);
    INFO(chain.reason);
    REQUIRE(chain.status == ArcStatus::pass);
    CHECK(chain.highest == 2);
    REQUIRE(chain.sets.size() == 2);
    CHECK(chain.sets[1].dmarc == "fail");
    CHECK(is_vouched_for(chain, {"l.example", "m.example"}));
    CHECK_FALSE(is_vouched_for(chain, {"l.example"}));  // m.example may have made it up
    CHECK_FALSE(is_vouched_for(chain, {"m.example"}));
    CHECK_FALSE(is_vouched_for(chain, {}));
    CHECK(is_vouched_for(chain, {"example"}));  // with what lies below

    // One octet of any set changed, and nothing holds.
    const std::size_t at = message.find("spf=pass");
    message.replace(at, 8, "spf=fail");
    CHECK(verify(resolver, message).status == ArcStatus::fail);
}

TEST_CASE("a chain that failed is closed, once") {
    test::FakeResolver resolver;
    const Sealer sealer(resolver, "l.example", crypto::SigningAlgorithm::ed25519_sha256);
    const auto first = sealer.seal(kMessage, saying(ArcStatus::none, " dmarc=pass"));
    REQUIRE(first);
    std::string message = *first + kMessage;
    message += "something a list added\r\n";
    CHECK(verify(resolver, message).status == ArcStatus::fail);
    const auto second = sealer.seal(message, saying(ArcStatus::fail, " dmarc=fail; arc=fail"));
    REQUIRE(second);
    CHECK(second->contains("cv=fail"));
    message = *second + message;
    const ArcChain chain = verify(resolver, message);
    CHECK(chain.status == ArcStatus::fail);
    CHECK(chain.closed);
    const auto third = sealer.seal(message, saying(ArcStatus::fail, " arc=fail"));
    REQUIRE(third);
    CHECK(third->empty());  // RFC 8617 5.1: nothing may follow
}

TEST_CASE("a DNS that is silent fails the chain, and is told apart") {
    test::FakeResolver resolver;
    const Sealer sealer(resolver, "l.example", crypto::SigningAlgorithm::ed25519_sha256);
    const std::string message = *sealer.seal(kMessage, saying(ArcStatus::none, " dmarc=pass")) + kMessage;
    resolver.set_failure("arc._domainkey.l.example", Errc::dns_temporary);
    const ArcChain chain = verify(resolver, message);
    CHECK(chain.status == ArcStatus::fail);
    CHECK(chain.undecided);
    CHECK_FALSE(chain.closed);
}

TEST_CASE("digests made ahead are those that are asked for") {
    test::FakeResolver resolver;
    const Sealer sealer(resolver, "l.example", crypto::SigningAlgorithm::ed25519_sha256);
    const std::string message = *sealer.seal(kMessage, saying(ArcStatus::none, " dmarc=pass")) + kMessage;
    const ReadMessage read(message);
    read.prepare();
    net::Loop loop;
    CHECK(test::run_task(loop, verify_arc(resolver, read)).status == ArcStatus::pass);
}
