#include "admin/http/json_body.h"

#include <Poco/Exception.h>
#include <Poco/JSON/JSONException.h>
#include <Poco/JSON/ParseHandler.h>
#include <Poco/JSON/Parser.h>

#include <set>
#include <sstream>
#include <vector>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"

namespace posthouse::admin {
namespace {

using Poco::Dynamic::Var;

// RFC 8259 4: of two members of one name everybody takes another one.
class StrictHandler final : public Poco::JSON::ParseHandler {
 public:
    void startObject() override {
        names_.emplace_back();
        ParseHandler::startObject();
    }
    void endObject() override {
        names_.pop_back();
        ParseHandler::endObject();
    }
    void key(const std::string& name) override {
        if (!names_.back().insert(name).second) throw Poco::JSON::JSONException("a member stands twice: " + name);
        ParseHandler::key(name);
    }

 private:
    std::vector<std::set<std::string>> names_;
};

}  // namespace

std::size_t count_json_values(std::string_view body) {
    std::size_t out = 0;
    bool quoted = false;
    for (std::size_t at = 0; at < body.size(); ++at) {
        const char c = body[at];
        if (quoted && c == '\\') ++at;
        if (c == '"') quoted = !quoted;
        if (!quoted && (c == ',' || c == '{' || c == '[')) ++out;
    }
    return out;
}

Poco::JSON::Object::Ptr parse_json_object(const std::string& body) {
    if (!ascii::is_valid_utf8(body)) return nullptr;
    try {
        Poco::JSON::Parser parser(new StrictHandler);
        parser.setDepth(kJsonDepthMax);
        const Var value = parser.parse(body);
        if (value.type() == typeid(Poco::JSON::Object::Ptr)) return value.extract<Poco::JSON::Object::Ptr>();
    } catch (const Poco::Exception& e) {
        log::debug("http", "a body is no JSON: {}", e.displayText());
    }
    return nullptr;
}

std::string utf8_of(const std::string& text) {
    if (ascii::is_valid_utf8(text)) return text;
    std::string out;
    for (const char c : text) out += ascii::is_8bit(c) ? std::string("\xEF\xBF\xBD") : std::string(1, c);
    return out;
}

HttpAnswer answer_of(const Poco::JSON::Object& object) {
    std::ostringstream text;
    object.stringify(text);
    HttpAnswer out;
    out.body = text.str() + "\n";
    return out;
}

}  // namespace posthouse::admin
