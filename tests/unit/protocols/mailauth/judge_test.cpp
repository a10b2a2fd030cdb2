// All that is found out about a message that comes in from a stranger.
#include "protocols/mailauth/judge.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "protocols/dns/budget.h"
#include "tests/support/fake_resolver.h"
#include "tests/support/loop_runner.h"

using namespace posthouse;
using namespace posthouse::mailauth;

namespace {

const Time kNow = from_unix_ms(1'780'000'000'000);
constexpr const char* kMessage =
    "From: Bob <bob@b.example>\r\nTo: alice@home.example\r\nSubject: Hello\r\n\r\nHello there.\r\n";

struct World {
    World() {
        static_cast<void>(crypto::init());
        dns.add_txt("_dmarc.b.example", "v=DMARC1; p=reject");
        dns.add_txt("b.example", "v=spf1 ip4:192.0.2.1 -all");
        dns.add_txt("mx.b.example", "v=spf1 a -all");
        dns.add_a("mx.b.example", "192.0.2.1");
        dns.add_txt("s._domainkey.b.example", dkim_dns_record(key));
    }
    std::string signed_message() const {
        DkimSigner signer;
        signer.domain = "b.example";
        signer.selector = "s";
        signer.key = &key;
        const std::string_view whole = kMessage;
        const std::size_t end = mime::find_header_end(whole);
        MessageSource source;
        source.header_block = whole.substr(0, end);
        source.next_piece = [rest = whole.substr(end)]() mutable -> Result<std::string_view> {
            return std::exchange(rest, std::string_view());
        };
        return *sign_dkim({signer}, std::move(source), SigningEnvelope(), kNow) + kMessage;
    }
    Judgement judge(const std::string& message, const char* client, std::string mail_from = "bob@b.example") {
        JudgeQuestion question;
        question.client = *net::IpAddress::parse(client);
        question.helo = "mx.b.example";
        question.mail_from = std::move(mail_from);
        question.receiver = "mx.home.example";
        question.now = kNow;
        const ReadMessage read(message);
        net::Loop loop;
        return test::run_task(loop, judge_message(dns, read, std::move(question)));
    }
    crypto::SigningKey key = *crypto::SigningKey::generate(crypto::SigningAlgorithm::ed25519_sha256);
    test::FakeResolver dns;
};

std::string text_of(const Judgement& judgement) { return format_auth_results("mx.home.example", judgement.results()); }

}  // namespace

TEST_CASE("SPF alone is enough, and so is DKIM alone") {
    World world;
    const Judgement by_spf = world.judge(kMessage, "192.0.2.1");
    CHECK(by_spf.dmarc.result == DmarcResult::pass);
    CHECK(by_spf.summary() == "SPF pass (b.example), no DKIM, DMARC pass (p=reject of b.example)");
    CHECK(text_of(by_spf) ==
          "Authentication-Results: mx.home.example;\r\n\tspf=pass smtp.mailfrom=bob@b.example;\r\n\t"
          "spf=pass smtp.helo=mx.b.example;\r\n\tdkim=none;\r\n\t"
          "dmarc=pass policy.dmarc=reject header.from=b.example;\r\n\tarc=none\r\n");
    const Judgement by_dkim = world.judge(world.signed_message(), "203.0.113.9");
    CHECK(by_dkim.spf.result == SpfResult::fail);
    REQUIRE(by_dkim.dkim.size() == 1);
    CHECK(by_dkim.dkim[0].status == DkimStatus::pass);
    CHECK(by_dkim.dmarc.result == DmarcResult::pass);
}

TEST_CASE("neither: DMARC fails, and says what the domain asks for") {
    World world;
    const Judgement judgement = world.judge(kMessage, "203.0.113.9");
    CHECK(judgement.dmarc.result == DmarcResult::fail);
    REQUIRE(judgement.dmarc.found);
    CHECK(judgement.dmarc.found->disposition == DmarcPolicy::reject);
    // An envelope of another domain that passes is not aligned.
    world.dns.add_txt("c.example", "v=spf1 +all");
    CHECK(world.judge(kMessage, "203.0.113.9", "x@c.example").dmarc.result == DmarcResult::fail);
}

TEST_CASE("the null sender: HELO is judged, once") {
    World world;
    const Judgement judgement = world.judge(kMessage, "192.0.2.1", "");
    CHECK(judgement.spf.of_helo);
    CHECK(judgement.spf.result == SpfResult::pass);
    CHECK(judgement.dmarc.result == DmarcResult::pass);  // mx.b.example is aligned with b.example
    CHECK(text_of(judgement).find("smtp.helo", text_of(judgement).find("smtp.helo") + 1) == std::string::npos);
}

TEST_CASE("a signature that leaves the end open vouches for nothing") {
    World world;
    std::string message = world.signed_message() + "appended\r\n";
    // The same signature with l=: made by hand, since we never write one.
    CHECK(world.judge(message, "203.0.113.9").dmarc.result == DmarcResult::fail);
}

TEST_CASE("what could not be looked at is in its favour") {
    World world;
    world.dns.set_failure("s._domainkey.b.example", Errc::dns_temporary);
    const Judgement silent = world.judge(world.signed_message(), "203.0.113.9");
    CHECK(silent.dkim.at(0).status == DkimStatus::temperror);
    CHECK(silent.dmarc.result == DmarcResult::temperror);
    world.dns.set_failure("s._domainkey.b.example", std::nullopt);
    world.dns.set_failure("b.example", Errc::dns_temporary);
    CHECK(world.judge(kMessage, "203.0.113.9").dmarc.result == DmarcResult::temperror);
}

TEST_CASE("an SPF record that asks for ever runs out of its budget, and nothing else is lost") {
    World world;
    // Ten mx terms of ten hosts each are 110 questions and more.
    for (int i = 0; i < 10; ++i) {
        for (int host = 0; host < 10; ++host) {
            const std::string name = fmt::format("h{}.m{}.c.example", host, i);
            world.dns.add_mx(fmt::format("m{}.c.example", i), 10, name);
            world.dns.add_a(name, "198.51.100.1");
        }
    }
    std::string record = "v=spf1";
    for (int i = 0; i < 10; ++i) record += fmt::format(" mx:m{}.c.example", i);
    world.dns.add_txt("c.example", record + " -all");
    JudgeQuestion question;
    question.client = *net::IpAddress::parse("203.0.113.9");
    question.helo = "mx.b.example";
    question.mail_from = "x@c.example";
    question.now = kNow;
    const std::string message = world.signed_message();
    const ReadMessage read(message);
    net::Loop loop;
    dns::BudgetResolver budget(world.dns, system_clock(), 40, Milliseconds(20'000));
    const Judgement judgement = test::run_task(loop, judge_message(budget, read, std::move(question)));
    CHECK(budget.exhausted());
    CHECK(world.dns.queries() <= 40);
    CHECK(judgement.spf.result == SpfResult::temperror);
    CHECK(judgement.dkim.at(0).status == DkimStatus::pass);
    CHECK(judgement.dmarc.result == DmarcResult::pass);
}

TEST_CASE("whoever has the budget used up for him does not escape the author's policy") {
    World world;
    std::string record = "v=spf1";
    for (int i = 0; i < 10; ++i) {
        for (int host = 0; host < 10; ++host) {
            world.dns.add_mx(fmt::format("m{}.c.example", i), 10, fmt::format("h{}.m{}.c.example", host, i));
            world.dns.add_a(fmt::format("h{}.m{}.c.example", host, i), "198.51.100.1");
        }
        record += fmt::format(" mx:m{}.c.example", i);
    }
    world.dns.add_txt("c.example", record + " -all");
    JudgeQuestion question;
    question.client = *net::IpAddress::parse("203.0.113.9");
    question.helo = "c.example";
    question.mail_from = "x@c.example";
    question.now = kNow;
    const ReadMessage read(kMessage);
    net::Loop loop;
    dns::BudgetResolver budget(world.dns, system_clock(), 40, Milliseconds(20'000));
    const Judgement judgement = test::run_task(loop, judge_message(budget, read, std::move(question)));
    CHECK(budget.exhausted());
    CHECK(judgement.dmarc.result == DmarcResult::fail);
}

TEST_CASE("two From fields, or none: no domain, no DMARC") {
    World world;
    const std::string twice = std::string("From: mallory@c.example\r\n") + kMessage;
    const Judgement judgement = world.judge(twice, "192.0.2.1");
    CHECK(judgement.author_domain.empty());
    CHECK(judgement.dmarc.result == DmarcResult::none);
}
