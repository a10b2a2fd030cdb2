#include "server/config/config.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace posthouse::server {
namespace {

std::string slurp(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    std::ostringstream out;
    out << in.rdbuf();
    return out.str();
}

std::vector<std::filesystem::path> toml_files(const std::string& folder) {
    std::vector<std::filesystem::path> out;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        if (entry.path().extension() == ".toml") out.push_back(entry.path());
    }
    std::ranges::sort(out);
    return out;
}

// The wanted text, where "*" stands for whatever the TOML reader says.
bool matches(std::string_view wanted, std::string_view got) {
    const std::size_t star = wanted.find('*');
    if (star == std::string_view::npos) return wanted == got;
    return got.starts_with(wanted.substr(0, star)) && got.ends_with(wanted.substr(star + 1));
}

constexpr std::string_view kWhole = R"(hostname = "Mail.Example.ORG"
data = "/var/lib/posthouse/"
[listen]
smtp = ["0.0.0.0:25", "[::]:25"]
imaps = ["127.0.0.1:0"]
http = ["127.0.0.1:8025", "[::1]:8025"]
[tls]
certificate = "/etc/posthouse/c.pem"
key = "/etc/posthouse/k.pem"
[dns]
servers = ["127.0.0.1@5353", "192.0.2.53"]
trust_anchor = ""
[store]
free_min = "8M"
cache = "1024K"
readers = 2
[imap]
mailbox_cache = "8M"
fetch_cache = "0"
clear_login = "loopback"
announce_uidonly = true
[log]
level = "debug"
[relay]
mx_port = 2525
allow_loopback_mx = true
)";

}  // namespace

TEST_CASE("every bad configuration is refused with line, key and what to write") {
    const auto files = toml_files("tests/unit/server/config/bad");
    CHECK(files.size() >= 20);
    for (const auto& file : files) {
        CAPTURE(file.string());
        const std::string text = slurp(file);
        const std::string first = text.substr(0, text.find('\n'));
        REQUIRE(first.starts_with("# expect: "));
        const auto config = load_config(file.string());
        REQUIRE_FALSE(config.has_value());
        const std::string wanted = file.string() + ":" + first.substr(10);
        CHECK_MESSAGE(matches(wanted, config.error().context), config.error().context);
    }
}

TEST_CASE("the examples in deploy parse") {
    const auto files = toml_files("deploy");
    CHECK_FALSE(files.empty());
    for (const auto& file : files) {
        CAPTURE(file.string());
        const auto config = load_config(file.string());
        CHECK_MESSAGE(config.has_value(), (config ? std::string() : config.error().context));
    }
}

TEST_CASE("a whole configuration: every value lands where it belongs") {
    const auto config = parse_config(kWhole, "test.toml");
    REQUIRE_MESSAGE(config.has_value(), (config ? std::string() : config.error().context));
    CHECK(config->hostname == "mail.example.org");
    CHECK(config->data == "/var/lib/posthouse");
    REQUIRE(config->listen.smtp.size() == 2);
    CHECK(config->listen.smtp[1].to_string() == "[::]:25");
    CHECK(config->listen.imaps.at(0).port == 0);
    CHECK(config->listen.submission.empty());
    CHECK(config->tls_key == "/etc/posthouse/k.pem");
    CHECK(config->dns_servers == std::vector<std::string>{"127.0.0.1@5353", "192.0.2.53"});
    CHECK(config->dns_ask_loopback);
    CHECK(config->dns_trust_anchor.empty());
    CHECK(config->store_free_octets_min == 8U * 1024 * 1024);
    CHECK(config->store_cache_octets == 1024U * 1024);
    CHECK(config->store_readers_max == 2);
    CHECK(config->imap_cache_octets == 8U * 1024 * 1024);
    CHECK(config->imap_fetch_cache_octets == 0);
    CHECK(config->imap_clear_login);
    CHECK(config->log_level == log::Level::debug);
    CHECK(config->relay_mx_port == 2525);
    CHECK(config->relay_allow_loopback_mx);
    CHECK(config->imap_announce_uidonly);
}

TEST_CASE("amounts of the store: octets, K, M, G, and none at all") {
    struct Case {
        std::string_view text;
        std::uint64_t octets;
    };
    const Case cases[] = {
        {"0", 0}, {"12345", 12345}, {"7K", 7168}, {"2G", 2147483648ULL}, {"1073741824G", 1ULL << 60U}};
    const std::string head = "hostname = \"a.example\"\ndata = \"/d\"\n[listen]\nsmtp = [\"127.0.0.1:0\"]\n";
    const std::string tls = "[tls]\ncertificate = \"/c\"\nkey = \"/k\"\n";
    for (const Case& row : cases) {
        CAPTURE(row.text);
        const auto config = parse_config(head + tls + "[store]\nfree_min = \"" + std::string(row.text) + "\"\n", "x");
        REQUIRE(config.has_value());
        CHECK(config->store_free_octets_min == row.octets);
    }
    const auto plain = parse_config(head + tls, "x");
    REQUIRE(plain.has_value());
    CHECK(plain->store_free_octets_min == 512ULL * 1024 * 1024);
    CHECK(plain->store_cache_octets == 64ULL * 1024 * 1024);
    CHECK(plain->store_readers_max == 4);
    CHECK(plain->imap_cache_octets == 64ULL * 1024 * 1024);
    CHECK(plain->imap_fetch_cache_octets == 32ULL * 1024 * 1024);
    CHECK_FALSE(plain->imap_clear_login);
}

TEST_CASE("a file that is not there or far too large is told apart") {
    CHECK(load_config("/nowhere/posthouse.toml").error().code == Errc::not_found);
    CHECK(load_config("/").error().code == Errc::io);
    CHECK(parse_config(std::string(kConfigOctetsMax + 1, '#'), "x").error().code == Errc::too_large);
}

}  // namespace posthouse::server
