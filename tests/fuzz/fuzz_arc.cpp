/// A message with a chain of whatever shape: validated, sealed again, and what was sealed is looked at once more.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "protocols/mailauth/arc.h"
#include "protocols/mailauth/verify.h"
#include "tests/support/fake_resolver.h"
#include "tests/support/loop_runner.h"

using namespace posthouse;
using namespace posthouse::mailauth;

namespace {

struct World {
    World() {
        (void)crypto::init();
        resolver.add_txt("arc._domainkey.home.example", dkim_dns_record(key));
        resolver.add_txt("dummy._domainkey.example.org", dkim_dns_record(key));
    }
    crypto::SigningKey key = *crypto::SigningKey::generate(crypto::SigningAlgorithm::ed25519_sha256);
    test::FakeResolver resolver;
    net::Loop loop;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static World world;
    const std::string message(reinterpret_cast<const char*>(data), size);
    const ReadMessage read(message);
    read.prepare();
    const ArcChain chain = test::run_task(world.loop, verify_arc(world.resolver, read));
    if (chain.highest > kArcSetsMax || chain.sets.size() > kArcSetsMax) std::abort();
    (void)is_vouched_for(chain, {"home.example"});
    DkimSigner signer;
    signer.domain = "home.example";
    signer.selector = "arc";
    signer.key = &world.key;
    MessageSource source;
    source.header_block = read.header();
    source.next_piece = [rest = read.body()]() mutable -> Result<std::string_view> {
        return std::exchange(rest, std::string_view());
    };
    ArcSealing sealing;
    sealing.authserv_id = "mx.home.example";
    sealing.results = " dmarc=pass";
    sealing.chain = chain.status;
    const auto fields = seal_arc(signer, std::move(source), sealing, from_unix_ms(1'780'000'000'000));
    if (!fields || fields->empty()) return 0;
    // A chain that holds goes on holding; one that was closed stays so.
    const ArcChain after = test::run_task(world.loop, verify_arc(world.resolver, *fields + message));
    if (chain.status == ArcStatus::fail && after.status != ArcStatus::fail) std::abort();
    if (chain.status == ArcStatus::pass && after.status != ArcStatus::pass) std::abort();
    return 0;
}
