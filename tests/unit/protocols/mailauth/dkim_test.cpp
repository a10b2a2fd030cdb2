#include "protocols/mailauth/dkim.h"

#include <doctest/doctest.h>

#include "tests/support/fake_resolver.h"
#include "tests/support/loop_runner.h"

using namespace posthouse;
using namespace posthouse::mailauth;
using crypto::SigningAlgorithm;
using crypto::SigningKey;

namespace {

constexpr std::string_view kHeader =
    "From: Alice <alice@home.example>\r\nTo: bob@home.example,\r\n  carol@world.example\r\n"
    "Subject:  two  words \r\nDate: Mon, 23 Nov 2026 20:00:00 +0000\r\nMessage-ID: <1@home.example>\r\n"
    "X-Other: not signed\r\nList-Unsubscribe: <mailto:off@home.example>\r\n\r\n";
const Time kNow = from_unix_ms(1'700'000'000'000);

// The body in pieces of seven octets, counted: it must be read once.
struct Body {
    std::string_view text;
    std::size_t at = 0;
    int ends = 0;

    MessageSource source(std::string_view header) {
        MessageSource out;
        out.header_block = header;
        out.next_piece = [this]() -> Result<std::string_view> {
            const std::string_view piece = text.substr(at, 7);
            at += piece.size();
            if (piece.empty()) ++ends;
            return piece;
        };
        return out;
    }
};

struct House {
    SigningKey rsa = *SigningKey::generate(SigningAlgorithm::rsa_sha256);
    SigningKey ed25519 = *SigningKey::generate(SigningAlgorithm::ed25519_sha256);
    test::FakeResolver resolver;
    net::Loop loop;

    House() {
        resolver.add_txt("r1._domainkey.home.example", dkim_dns_record(rsa));
        resolver.add_txt("e1._domainkey.home.example", dkim_dns_record(ed25519));
    }
    std::vector<DkimSigner> signers() const {
        DkimSigner first;
        first.domain = "home.example";
        first.selector = "r1";
        first.key = &rsa;
        DkimSigner second = first;
        second.selector = "e1";
        second.key = &ed25519;
        return {first, second};
    }
    std::vector<DkimResult> verify(std::string_view message) {
        return test::run_task(loop, verify_dkim(resolver, message, kNow));
    }
};

std::string replaced(std::string text, std::string_view what, std::string_view with) {
    const std::size_t at = text.find(what);
    REQUIRE(at != std::string::npos);
    return text.replace(at, what.size(), with);
}

}  // namespace

TEST_CASE("what is signed verifies, with both algorithms, and the body is read once") {
    House house;
    Body body{"Hello  world \r\n\r\nbye\r\n\r\n"};
    const auto fields = sign_dkim(house.signers(), body.source(kHeader), SigningEnvelope(), kNow);
    REQUIRE(fields.has_value());
    CHECK(body.ends == 1);
    for (std::size_t at = 0; at < fields->size();) {
        const std::size_t end = fields->find("\r\n", at);
        REQUIRE(end != std::string::npos);
        CHECK(end - at <= 78);  // RFC 5322 2.1.1
        at = end + 2;
    }
    const std::string message = *fields + std::string(kHeader) + std::string(body.text);

    const auto results = house.verify(message);
    REQUIRE(results.size() == 2);
    for (const DkimResult& result : results) {
        CAPTURE(result.reason);
        CHECK(result.status == DkimStatus::pass);
        CHECK(result.domain == "home.example");
        CHECK(result.signature_start.size() == 8);
        CHECK_FALSE(result.body_partly_signed);
    }
    CHECK(results[0].algorithm == "rsa-sha256");
    CHECK(results[1].algorithm == "ed25519-sha256");

    struct Change {
        const char* what;
        const char* with;
        DkimStatus wanted;
    };
    const Change changes[] = {
        {"bye", "Bye", DkimStatus::fail},
        {"two  words", "three words", DkimStatus::fail},
        {"two  words ", "two \r\n words", DkimStatus::pass},
        {"X-Other: not", "X-Other: never", DkimStatus::pass},
        {"X-Other:", "From: eve@world.example\r\nX-Other:", DkimStatus::fail},  // oversigned, RFC 6376 8.15
        {"X-Other:", "Reply-To: eve@world.example\r\nX-Other:", DkimStatus::fail},
        {"X-Other:", "Content-Type: text/html\r\nX-Other:", DkimStatus::fail},
        {"off@", "on@", DkimStatus::fail},  // List-Unsubscribe, RFC 8058 4
        {"world \r\n", "world\r\n", DkimStatus::pass},
    };
    for (const Change& change : changes) {
        CAPTURE(change.with);
        for (const DkimResult& result : house.verify(replaced(message, change.what, change.with))) {
            CHECK(result.status == change.wanted);
        }
    }
}

TEST_CASE("signatures end after a while, and Sender and List fields that are there cannot be added to") {
    House house;
    constexpr std::string_view kList =
        "From: a@home.example\r\nSender: b@home.example\r\nList-Id: <l.home.example>\r\n"
        "List-Unsubscribe: <https://home.example/off>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\r\n";
    Body body{"x\r\n"};
    const auto fields = sign_dkim(house.signers(), body.source(kList), SigningEnvelope(), kNow);
    REQUIRE(fields.has_value());
    const std::int64_t signed_at = to_unix_ms(kNow) / 1000;
    CHECK(fields->contains("t=" + std::to_string(signed_at) + ";"));
    CHECK(fields->contains("x=" + std::to_string(signed_at + 14 * 24 * 3600) + ";"));
    const std::string message = *fields + std::string(kList) + "x\r\n";
    for (const char* const added : {"Sender: eve@world.example\r\n", "List-Unsubscribe: <https://eve.example/>\r\n",
                                    "List-Id: <e.eve.example>\r\n", "List-Unsubscribe-Post: x\r\n"}) {
        CAPTURE(added);
        for (const auto& result : house.verify(replaced(message, "From:", std::string(added) + "From:"))) {
            CHECK(result.status == DkimStatus::fail);
        }
    }
    // Where there is none, a list may add its own.
    Body plain{"x\r\n"};
    constexpr std::string_view kLetter = "From: a@home.example\r\nSubject: s\r\n\r\n";
    const auto letter = sign_dkim(house.signers(), plain.source(kLetter), SigningEnvelope(), kNow);
    const std::string listed = *letter + "List-Id: <l.list.example>\r\n" + std::string(kLetter) + "x\r\n";
    for (const auto& result : house.verify(listed)) CHECK(result.status == DkimStatus::pass);
    for (const auto& result : test::run_task(
             house.loop, verify_dkim(house.resolver, listed, kNow + kSignatureLife + std::chrono::hours(1)))) {
        CHECK(result.status != DkimStatus::pass);
    }
}

TEST_CASE("RFC 8460 5.3: the fields of a TLS report are signed where they are there") {
    House house;
    constexpr std::string_view kReport =
        "From: postmaster@home.example\r\nTLS-Report-Domain: b.example\r\nTLS-Report-Submitter: home.example\r\n\r\n";
    for (const bool is_report : {true, false}) {
        Body body{"x\r\n"};
        const auto fields =
            sign_dkim(house.signers(), body.source(is_report ? kReport : kHeader), SigningEnvelope(), kNow);
        REQUIRE(fields.has_value());
        CHECK(fields->contains("tls-report-domain") == is_report);
        CHECK(fields->contains("tls-report-submitter") == is_report);
    }
}

TEST_CASE("a message without body, without From, without signers") {
    House house;
    Body empty{""};
    const auto fields = sign_dkim(house.signers(), empty.source(kHeader), SigningEnvelope(), kNow);
    REQUIRE(fields.has_value());
    for (const DkimResult& result : house.verify(*fields + std::string(kHeader))) {
        CHECK(result.status == DkimStatus::pass);
    }
    Body body{"x"};
    CHECK_FALSE(
        sign_dkim(house.signers(), body.source("To: b@home.example\r\n\r\n"), SigningEnvelope(), kNow).has_value());
    CHECK(sign_dkim({}, body.source(kHeader), SigningEnvelope(), kNow)->empty());
    CHECK(house.verify("From: a@b.example\r\n\r\nx").empty());
}

TEST_CASE("an error of the body's source is passed on") {
    House house;
    MessageSource source;
    source.header_block = kHeader;
    source.next_piece = []() -> Result<std::string_view> { return Error(Errc::io, "gone"); };
    const auto fields = sign_dkim(house.signers(), source, SigningEnvelope(), kNow);
    REQUIRE_FALSE(fields.has_value());
    CHECK(fields.error().code == Errc::io);
}

TEST_CASE("outcomes of the key lookup") {
    House house;
    Body body{"x\r\n"};
    const auto fields = sign_dkim(house.signers(), body.source(kHeader), SigningEnvelope(), kNow);
    REQUIRE(fields.has_value());
    const std::string message = *fields + std::string(kHeader) + "x\r\n";
    house.resolver.set_failure("r1._domainkey.home.example", Errc::dns_temporary);
    house.resolver.set_failure("e1._domainkey.home.example", Errc::dns_bogus);
    for (const DkimResult& result : house.verify(message)) CHECK(result.status == DkimStatus::temperror);
    house.resolver.clear();
    for (const DkimResult& result : house.verify(message)) CHECK(result.status == DkimStatus::permerror);
    house.resolver.add_txt("r1._domainkey.home.example", "v=DKIM1; k=rsa; p=");
    CHECK(house.verify(message)[0].reason == "the key is revoked");
}

TEST_CASE("only the first kSignaturesChecked signatures cost anything") {
    House house;
    std::string message;
    for (int i = 0; i < 50; ++i) {
        message += "DKIM-Signature: v=1; a=rsa-sha256; d=home.example; s=none; h=from; bh=AAAA; b=AAAA\r\n";
    }
    message += kHeader;
    CHECK(house.verify(message).size() == kSignaturesChecked);
    CHECK(house.resolver.queries() == kSignaturesChecked);
}
