#include "tests/support/json.h"

#include <fmt/format.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>

#include "protocols/base/cursor.h"

namespace posthouse::test {
namespace {

constexpr std::size_t kDepthMax = 200;

void append_utf8(std::string& out, std::uint32_t code) {
    const auto put = [&](std::uint32_t octet) { out.push_back(static_cast<char>(octet)); };
    if (code < 0x80) return put(code);
    if (code < 0x800) {
        put(0xc0U | (code >> 6U));
    } else if (code < 0x10000) {
        put(0xe0U | (code >> 12U));
        put(0x80U | ((code >> 6U) & 0x3fU));
    } else {
        put(0xf0U | (code >> 18U));
        put(0x80U | ((code >> 12U) & 0x3fU));
        put(0x80U | ((code >> 6U) & 0x3fU));
    }
    put(0x80U | (code & 0x3fU));
}

class Reader {
 public:
    explicit Reader(std::string_view text) : in_(text) {}

    std::optional<Json> whole() {
        auto value = take_value(0);
        skip();
        if (!in_.at_end()) return std::nullopt;
        return value;
    }
    std::size_t position() const { return in_.position(); }

 private:
    void skip() {
        in_.take_while([](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; });
    }

    std::optional<Json> take_value(std::size_t depth) {
        skip();
        if (depth > kDepthMax) return std::nullopt;
        Json out;
        switch (in_.peek()) {
            case '{': return take_object(depth);
            case '[': return take_array(depth);
            case '"': {
                auto text = take_string();
                if (!text) return std::nullopt;
                return Json::of(*std::move(text));
            }
            case 't': out.boolean = true; [[fallthrough]];
            case 'f':
                out.kind = Json::Kind::boolean;
                if (!in_.take(out.boolean ? "true" : "false")) return std::nullopt;
                return out;
            case 'n':
                if (!in_.take("null")) return std::nullopt;
                return out;
            default: return take_number();
        }
    }

    std::optional<Json> take_number() {
        const std::string digits(in_.take_while(
            [](char c) { return ascii::is_digit(c) || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E'; }));
        char* end = nullptr;
        const double value = std::strtod(digits.c_str(), &end);
        if (digits.empty() || *end != '\0') return std::nullopt;
        return Json::of(value);
    }

    std::optional<Json> take_array(std::size_t depth) {
        Json out = Json::array();
        in_.take('[');
        skip();
        if (in_.take(']')) return out;
        while (true) {
            auto item = take_value(depth + 1);
            if (!item) return std::nullopt;
            out.items.push_back(*std::move(item));
            skip();
            if (in_.take(']')) return out;
            if (!in_.take(',')) return std::nullopt;
        }
    }

    std::optional<Json> take_object(std::size_t depth) {
        Json out;
        out.kind = Json::Kind::object;
        in_.take('{');
        skip();
        if (in_.take('}')) return out;
        while (true) {
            skip();
            auto key = take_string();
            skip();
            if (!key || !in_.take(':')) return std::nullopt;
            auto value = take_value(depth + 1);
            if (!value) return std::nullopt;
            out.members.emplace_back(*std::move(key), *std::move(value));
            skip();
            if (in_.take('}')) return out;
            if (!in_.take(',')) return std::nullopt;
        }
    }

    std::optional<std::uint32_t> take_hex4() {
        std::uint32_t code = 0;
        for (int i = 0; i < 4; ++i) {
            const int digit = ascii::hex_value(in_.peek());
            if (digit < 0) return std::nullopt;
            code = code * 16 + static_cast<std::uint32_t>(digit);
            in_.take_octets(1);
        }
        return code;
    }

    bool take_escape(std::string& out) {
        constexpr std::string_view kFrom = "\"\\/bfnrt";
        constexpr std::string_view kTo = "\"\\/\b\f\n\r\t";
        if (in_.take('u')) {
            auto code = take_hex4();
            if (!code) return false;
            if (*code >= 0xd800 && *code < 0xdc00 && in_.take("\\u")) {
                const auto low = take_hex4();
                if (!low) return false;
                *code = 0x10000 + ((*code - 0xd800) << 10U) + (*low - 0xdc00);
            }
            append_utf8(out, *code);
            return true;
        }
        const auto at = kFrom.find(in_.peek());
        if (at == std::string_view::npos || in_.at_end()) return false;
        out.push_back(kTo[at]);
        in_.take_octets(1);
        return true;
    }

    std::optional<std::string> take_string() {
        if (!in_.take('"')) return std::nullopt;
        std::string out;
        while (!in_.at_end()) {
            out += in_.take_while([](char c) { return c != '"' && c != '\\'; });
            if (in_.take('"')) return out;
            if (!in_.take('\\') || !take_escape(out)) return std::nullopt;
        }
        return std::nullopt;
    }

    Cursor in_;
};

void append_quoted(std::string& out, std::string_view text) {
    out.push_back('"');
    for (const char c : text) {
        if (c == '"' || c == '\\')
            out += fmt::format("\\{}", c);
        else if (ascii::is_control(c))
            out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
        else
            out.push_back(c);
    }
    out.push_back('"');
}

void append_dump(std::string& out, const Json& value) {
    switch (value.kind) {
        case Json::Kind::null: out += "null"; return;
        case Json::Kind::boolean: out += value.boolean ? "true" : "false"; return;
        case Json::Kind::number: out += fmt::format("{}", value.number); return;
        case Json::Kind::string: append_quoted(out, value.text); return;
        case Json::Kind::array:
            out.push_back('[');
            for (const Json& item : value.items) {
                if (&item != &value.items.front()) out += ", ";
                append_dump(out, item);
            }
            out.push_back(']');
            return;
        case Json::Kind::object:
            out.push_back('{');
            for (const auto& member : value.members) {
                if (&member != &value.members.front()) out += ", ";
                append_quoted(out, member.first);
                out += ": ";
                append_dump(out, member.second);
            }
            out.push_back('}');
            return;
    }
}

const Json kNull;

}  // namespace

const Json* Json::find(std::string_view key) const {
    for (const auto& [name, value] : members)
        if (name == key) return &value;
    return nullptr;
}

const Json& Json::operator[](std::string_view key) const {
    const Json* found = find(key);
    return found == nullptr ? kNull : *found;
}

const Json& Json::operator[](std::size_t index) const { return index < items.size() ? items[index] : kNull; }

Json Json::of(std::string value) {
    Json out;
    out.kind = Kind::string;
    out.text = std::move(value);
    return out;
}

Json Json::of(double value) {
    Json out;
    out.kind = Kind::number;
    out.number = value;
    return out;
}

Json Json::array() {
    Json out;
    out.kind = Kind::array;
    return out;
}

std::string Json::dump() const {
    std::string out;
    append_dump(out, *this);
    return out;
}

Result<Json> parse_json(std::string_view text) {
    Reader reader(text);
    if (auto value = reader.whole()) return *std::move(value);
    return {Errc::invalid, fmt::format("no JSON at octet {}", reader.position())};
}

std::string conformance_folder() {
    const char* set = std::getenv("POSTHOUSE_CONFORMANCE");
    const std::string path = set != nullptr ? set : "../shared/conformance";
    return std::filesystem::is_directory(path) ? path : std::string();
}

std::string read_whole_file(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) std::cerr << "cannot read " << path << '\n';
    return std::string(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
}

}  // namespace posthouse::test
