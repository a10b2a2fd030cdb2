#include "relay/tokens.h"

#include <fmt/format.h>

#include "relay/core.h"
#include "tests/support/relay_house.h"

namespace posthouse::relay {
namespace {

// Answers when it is told to, and counts who asked.
class SlowDoor final : public TokenDoor {
 public:
    explicit SlowDoor(net::Loop& loop) : answer(loop) {}
    net::Task<Result<Answer>> post(std::string, std::string) override {
        ++asked;
        co_await answer.wait();
        Answer out;
        out.status = status;
        out.body = fmt::format(R"({{"access_token":"t{}"}})", asked);
        co_return out;
    }
    net::Event answer;
    int asked = 0;
    int status = 200;
};

net::Task<void> ask(Core& core, storage::Way way, std::vector<std::string>& got) {
    const auto token = co_await core.tokens.get(core, way);
    got.push_back(token ? *token : "none");
}

net::Task<void> let_answer(SlowDoor& door) {
    door.answer.set();
    co_return;
}

std::vector<std::string> ask_often(Core& core, SlowDoor& door, const storage::Way& way) {
    std::vector<std::string> got;
    door.answer.reset();
    net::TaskGroup tasks(*core.deps.loop);
    for (int i = 0; i < 5; ++i) tasks.spawn("ask", ask(core, way, got));
    tasks.spawn("answer", let_answer(door));  // once all have asked
    test::run_task(*core.deps.loop, tasks.join());
    return got;
}

}  // namespace

TEST_CASE("many connections that want a token at once ask the endpoint once, and share its refusal") {
    House house;
    SlowDoor door(house.loop);
    RelayDeps deps = house.kept;
    deps.token_door = &door;
    Core core(deps);
    storage::Way way;
    way.name = "office";
    way.oauth.token_url = "https://login.example/token";
    CHECK(ask_often(core, door, way) == std::vector<std::string>(5, "t1"));
    CHECK(door.asked == 1);
    CHECK(ask_often(core, door, way) == std::vector<std::string>(5, "t1"));
    CHECK(door.asked == 1);
    core.tokens.drop("office", "t0");  // refused, but another one is there by now
    CHECK(ask_often(core, door, way).front() == "t1");
    core.tokens.drop("office", "t1");
    door.status = 401;
    CHECK(ask_often(core, door, way) == std::vector<std::string>(5, "none"));
    CHECK(door.asked == 2);
    house.settle();
}

TEST_CASE("token endpoints: what is asked, RFC 6749 4.4 and 6") {
    storage::WayOauth oauth;
    oauth.client_id = "app id";
    oauth.scope = "https://outlook.office365.com/.default";
    CHECK(token_form(oauth, "s&cret", "") ==
          "client_id=app%20id&grant_type=client_credentials&client_secret=s%26cret&scope=https%3A%2F%2F"
          "outlook.office365.com%2F.default");
    oauth.scope.clear();
    CHECK(token_form(oauth, "", "r/1") == "client_id=app%20id&grant_type=refresh_token&refresh_token=r%2F1");
}

TEST_CASE("token endpoints: what they answer, RFC 6749 5.1 and 5.2") {
    struct Case {
        int status;
        std::string_view body;
        std::string_view token;  // "" where it is refused
        std::int64_t expires_in_s;
        std::string_view sentence;
    };
    const Case cases[] = {
        {200, R"({"access_token":"abc.d-e","token_type":"Bearer","expires_in":3599})", "abc.d-e", 3599, ""},
        {200, R"({"access_token":"x","token_type":"bearer","expires_in":"60"})", "x", 60, ""},
        {200, R"({"access_token":"x"})", "x", 3600, ""},
        {200, R"({"access_token":"x","expires_in":99999999})", "x", 86400, ""},
        {400, R"({"error":"invalid_grant","error_description":"AADSTS70000: expired"})", "", 0, "AADSTS70000: expired"},
        {401, R"({"error":"invalid_client"})", "", 0, "invalid_client"},
        {200, R"({"token_type":"Bearer"})", "", 0, "no token"},
        {200, R"({"access_token":"a\r\nb"})", "", 0, "no token"},
        {200, R"({"access_token":"a","token_type":"mac"})", "", 0, "mac"},
        {200, "[1]", "", 0, "status 200"},
        {502, "<html>bad gateway</html>", "", 0, "status 502"},
        {200, R"({"access_token":{"a":1}})", "", 0, "no token"},
    };
    for (const Case& c : cases) {
        CAPTURE(c.body);
        const auto token = read_token(c.status, c.body);
        CHECK(token.has_value() == !c.token.empty());
        if (token) CHECK(token->value == c.token);
        if (token) CHECK(token->expires_in_s == c.expires_in_s);
        if (!token) CHECK(token.error().context.contains(c.sentence));
    }
    CHECK(read_token(200, R"({"access_token":"a","refresh_token":"next"})")->refresh == "next");
    const std::string deep = std::string(100, '[') + std::string(100, ']');
    CHECK_FALSE(read_token(200, deep));
}

}  // namespace posthouse::relay
