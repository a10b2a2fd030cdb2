#include <doctest/doctest.h>

#include "protocols/net/memory.h"
#include "protocols/smtp/capabilities.h"
#include "protocols/smtp/client.h"
#include "protocols/smtp/limits.h"
#include "protocols/smtp/parameters.h"
#include "protocols/smtp/reply.h"
#include "protocols/smtp/xtext.h"
#include "tests/support/loop_runner.h"

using namespace posthouse;

namespace {

Result<smtp::Reply> hear(std::string_view octets, smtp::LineEnds ends = smtp::LineEnds::lf_too) {
    net::Loop loop;
    auto pair = net::make_memory_pair(loop, net::Endpoint(), net::Endpoint());
    REQUIRE(test::run_task(loop, pair.second->write_all(octets)));
    pair.second->close();
    net::BufferedStream stream(std::move(pair.first));
    return test::run_task(loop, smtp::read_reply(stream, ends));
}

}  // namespace

TEST_CASE("replies, RFC 5321 4.2: one and many lines") {
    const auto one = hear("550 5.1.1 No such user\r\n");
    REQUIRE(one);
    CHECK(one->code == 550);
    CHECK(one->enhanced == "5.1.1");
    CHECK(one->to_string() == "550 5.1.1 No such user");
    const auto many = hear("250-mx.example\r\n250-SIZE 10\r\n250 DSN\r\n");
    REQUIRE(many);
    CHECK(many->lines.size() == 3);
    CHECK(hear("220\r\n"));
    CHECK(hear("250-a\r\n250\r\n"));
    // A code of another class is text, not an enhanced code.
    const auto odd = hear("250 5.1.1 odd\r\n");
    REQUIRE(odd);
    CHECK(odd->enhanced.empty());
}

TEST_CASE("replies: what is none, and what is too much") {
    CHECK(hear("hello\r\n").error().code == Errc::invalid);
    CHECK(hear("999 x\r\n").error().code == Errc::invalid);
    CHECK(hear("25x x\r\n").error().code == Errc::invalid);
    CHECK(hear("250x\r\n").error().code == Errc::invalid);
    CHECK(hear("250-a\r\n251 b\r\n").error().code == Errc::invalid);
    CHECK(hear("250 a\nb\r\n", smtp::LineEnds::crlf).error().code == Errc::invalid);
    CHECK(hear("250 cut").error().code == Errc::closed);
    CHECK(hear("250 " + std::string(507, 'a') + "\r\n").error().code == Errc::too_large);
    CHECK(hear("250 " + std::string(506, 'a') + "\r\n"));
    std::string long_reply;
    for (int i = 0; i < 101; ++i) long_reply += "250-x\r\n";
    CHECK(hear(long_reply + "250 x\r\n").error().code == Errc::limit);
}

TEST_CASE("replies, leniency LineEnds::lf_too: lines that end with LF alone are read, as CRLF in between") {
    const auto reply = hear("250-mx.example\n250-SIZE 10\r\n250 DSN\n");
    REQUIRE(reply);
    CHECK(reply->lines == std::vector<std::string>{"mx.example", "SIZE 10", "DSN"});
    CHECK(hear("250-a\nDSN\r\n").error().code == Errc::invalid);
    CHECK(hear("250 a\rb\n").error().code == Errc::invalid);
    CHECK(hear("250 " + std::string(600, 'a')).error().code == Errc::too_large);
    CHECK(hear("250 ok\n", smtp::LineEnds::crlf).error().code == Errc::closed);
}

TEST_CASE("replies: nothing that is put into the text can break its lines") {
    const smtp::Reply reply(550, "5.7.1", "bad\r\n250 ok\x01");
    CHECK(smtp::format_reply(reply) == "550 5.7.1 bad??250 ok?\r\n");
    const smtp::Reply long_reply(250, std::string(1000, 'a'));
    CHECK(smtp::format_reply(long_reply).size() == smtp::kReplyLineOctetsMax);
}

TEST_CASE("capabilities, RFC 5321 4.1.1.1: read leniently") {
    const auto reply = hear(
        "250-mx.example hello\r\n250-size 1000\r\n250-8BITMIME\r\n250-AUTH PLAIN login\r\n250-AUTH=LOGIN XOAUTH2\r\n"
        "250-LIMITS MAILMAX=5 RCPTMAX=x RCPTMAX=7\r\n250-X-ODD\r\n250 starttls\r\n");
    REQUIRE(reply);
    const smtp::Capabilities found = smtp::parse_capabilities(*reply);
    CHECK(found.size);
    CHECK(found.size_octets_max == 1000);
    CHECK(found.eight_bit_mime);
    CHECK(found.starttls);
    CHECK_FALSE(found.pipelining);
    CHECK(found.auth == std::vector<std::string>{"PLAIN", "LOGIN", "XOAUTH2"});
    CHECK(found.mail_max == 5);
    CHECK(found.recipients_max == 7);
}

TEST_CASE("commands of a client say only what was offered") {
    smtp::Capabilities offered;
    smtp::MailOptions mail;
    mail.size_octets = 99;
    mail.eight_bit = true;
    mail.envid = "a+b";
    mail.ret = "HDRS";
    CHECK(*smtp::format_mail("a@b.example", mail, offered) == "MAIL FROM:<a@b.example>\r\n");
    offered.size = offered.eight_bit_mime = offered.dsn = true;
    CHECK(*smtp::format_mail("", mail, offered) == "MAIL FROM:<> SIZE=99 BODY=8BITMIME RET=HDRS ENVID=a+2Bb\r\n");
    CHECK(smtp::format_mail("gr\xc3\xbc@b.example", mail, offered).error().code == Errc::unsupported);
    CHECK(smtp::format_mail("a@b\r\nRSET", mail, offered).error().code == Errc::invalid);
    smtp::RcptOptions rcpt;
    rcpt.notify = "NEVER";
    rcpt.orcpt = "rfc822;a+b@c.example";
    CHECK(*smtp::format_rcpt("a@b.example", rcpt, offered) ==
          "RCPT TO:<a@b.example> NOTIFY=NEVER ORCPT=rfc822;a+2Bb@c.example\r\n");
    CHECK(smtp::format_bdat(10, true) == "BDAT 10 LAST\r\n");
}

TEST_CASE("dots, RFC 5321 4.5.2: doubled at line starts, over every cut") {
    const std::string message = ".a\r\n..\r\nb.\r\n.\r\n";
    for (std::size_t cut = 0; cut <= message.size(); ++cut) {
        smtp::DotStuffer stuffer;
        std::string out;
        stuffer.append(out, std::string_view(message).substr(0, cut));
        stuffer.append(out, std::string_view(message).substr(cut));
        stuffer.finish(out);
        CHECK(out == "..a\r\n...\r\nb.\r\n..\r\n.\r\n");
    }
    smtp::DotStuffer open;
    std::string out;
    open.append(out, "no line end");
    open.finish(out);
    CHECK(out == "no line end\r\n.\r\n");
}

TEST_CASE("xtext and parameters, RFC 3461 4") {
    CHECK(smtp::encode_xtext("a+b=c d") == "a+2Bb+3Dc+20d");
    CHECK(*smtp::decode_xtext("a+2Bb") == "a+b");
    for (const std::string_view bad : {"a b", "a=b", "+2", "+", "+zz", "+00", "\x80"})
        CHECK_FALSE(smtp::decode_xtext(bad));
    CHECK(*smtp::parse_notify("never") == 1);
    CHECK(*smtp::parse_notify("SUCCESS,delay") == 10);
    CHECK_FALSE(smtp::parse_notify("NEVER,FAILURE"));
    CHECK_FALSE(smtp::parse_notify(""));
    CHECK(*smtp::parse_orcpt("rfc822;a+2Bb@c.example") == "rfc822;a+b@c.example");
    CHECK_FALSE(smtp::parse_orcpt("rfc822"));
    CHECK(*smtp::parse_size("0") == 0);
    CHECK_FALSE(smtp::parse_size("-1"));
    CHECK_FALSE(smtp::parse_size("123456789012345678901"));
    CHECK(smtp::parse_chunk_header("10 last")->last);
    CHECK(smtp::parse_chunk_header("9223372036854775808").error().code == Errc::too_large);
    CHECK_FALSE(smtp::parse_chunk_header("10 LASTx"));
}
