// Bounce addresses at RCPT: what is forged is refused and counted, whichever of our two kinds it looks like.
#include "server/delivery/late_mail.h"

#include <doctest/doctest.h>

#include "protocols/mailauth/srs.h"
#include "tests/support/loop_runner.h"
#include "tests/support/temp_store.h"

using namespace posthouse;

namespace {

struct Fixture {
    Fixture() {
        store.add_account("alice@a.example");
        directory = server::Directory::open(*store, loop, pool).value();
        desk = std::make_unique<server::LateDesk>(*store, loop, pool, *directory, system_clock(), metrics);
    }
    std::int64_t forged() { return metrics.counter("smtp_bad_tokens_total", "").get(); }
    Errc look_up_token(std::string local) {
        auto code = Errc::internal;
        auto ask = [](server::LateDesk& desk, smtp::Path address, Errc& out) -> net::Task<void> {
            const auto found = co_await desk.look_up_token(std::move(address));
            if (!found) out = found.error().code;
        };
        test::run_task(loop, ask(*desk, smtp::Path(std::move(local), "a.example"), code));
        return code;
    }
    net::Loop loop;
    test::TempStore store;
    net::ThreadPool pool{"test", 1};
    Metrics metrics;
    std::unique_ptr<server::Directory> directory;
    std::unique_ptr<server::LateDesk> desk;
};

// The first octet of a signature, changed.
std::string forge(std::string local) {
    char& octet = local[local.find('=') + 1];
    octet = octet == 'q' || octet == 'Q' ? 'z' : 'q';
    return local;
}

}  // namespace

TEST_CASE("a forged return-path token is refused at RCPT and counted") {
    Fixture f;
    const mailauth::ReturnToken token{7, std::nullopt};
    const auto keys = mailauth::return_keys(f.store->sealing_key());
    const std::string good = mailauth::make_return_token(keys, token, system_clock().now());
    CHECK(f.look_up_token(forge(good)) == Errc::refused);
    CHECK(f.forged() == 1);
    CHECK(f.look_up_token(good) == Errc::refused);  // ours, of a message that nobody knows any more
    CHECK(f.forged() == 2);
}

TEST_CASE("a forged bounce address of mail that was passed on is refused at RCPT and counted") {
    Fixture f;
    const auto keys = mailauth::srs_keys(f.store->sealing_key());
    const std::string good = mailauth::srs_forward(keys, {"alice", "a.example"}, system_clock().now()).value();
    CHECK(f.desk->look_up_bounce(smtp::Path(good, "a.example")));
    CHECK(f.forged() == 0);
    const auto refused = f.desk->look_up_bounce(smtp::Path(forge(good), "a.example"));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Errc::refused);
    CHECK(f.forged() == 1);
}
