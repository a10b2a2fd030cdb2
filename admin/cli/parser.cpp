#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <list>
#include <set>

#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Weverything"
#include <CLI/CLI.hpp>
#pragma clang diagnostic pop

#include "admin/cli/command.h"
#include "protocols/base/log.h"
#include "protocols/crypto/crypto.h"

namespace posthouse::admin {
namespace {

constexpr int kExitDone = 0;
constexpr int kExitRefused = 1;
constexpr int kExitUsage = 2;

std::vector<const Command*> all_commands() {
    std::vector<const Command*> out;
    for (const auto rows :
         {setup_commands(),    domain_commands(),       account_commands(),     alias_commands(),
          route_commands(),    explain_commands(),      route_test_commands(),  preset_commands(),
          way_commands(),      address_commands(),      client_commands(),      queue_commands(),
          lane_commands(),     undelete_commands(),     retention_commands(),   rights_commands(),
          setting_commands(),  backup_commands(),       stream_commands(),      trace_commands(),
          export_commands(),   import_commands(),       import_imap_commands(), dkim_commands(),
          doctor_commands(),   fsck_commands(),         search_commands(),      token_commands(),
          tls_commands(),      app_password_commands(), capability_commands(),  dkim_rotation_commands(),
          incident_commands(), guard_commands(),        suppression_commands(), dmarc_commands(),
          report_commands(),   webhook_commands()}) {
        for (const Command& row : rows) out.push_back(&row);
    }
    return out;
}

// What CLI11 fills while it parses; one for each row.
struct Bound {
    const Command* row = nullptr;
    CLI::App* app = nullptr;
    std::list<std::pair<std::string, std::vector<std::string>>> values;
    std::list<std::pair<std::string, bool>> flags;
    bool json = false;
    std::string config;
};

void bind_argument(Bound& bound, const Argument& argument) {
    const std::string name(argument.name);
    const std::string help(argument.help);
    if (argument.kind == Argument::Kind::flag) {
        auto& slot = bound.flags.emplace_back(name, false);
        bound.app->add_flag(name, slot.second, help);
        return;
    }
    auto& slot = bound.values.emplace_back(name, std::vector<std::string>());
    CLI::Option* option = bound.app->add_option(name, slot.second, help);
    using Kind = Argument::Kind;
    const bool many = argument.kind == Kind::positional_many || argument.kind == Kind::positional_any ||
                      argument.kind == Kind::option_many;
    if (!many) option->expected(1)->allow_extra_args(false);
    if (argument.kind == Kind::option_many) option->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    if (argument.kind == Kind::positional || argument.kind == Kind::positional_many ||
        argument.kind == Kind::option_required) {
        option->required();
    }
    const bool is_option = name.starts_with('-');
    option->type_name(is_option ? "VALUE" : "");
}

/// `group`: the group of the same name, where there is one: it is then a command of its own, too. Null else.
void bind_command(Bound& bound, CLI::App& parent, CLI::App* group) {
    const Command& row = *bound.row;
    if (group != nullptr) {
        bound.app = group;
        group->require_subcommand(0, 1);
    } else {
        bound.app = parent.add_subcommand(std::string(row.verb), std::string(row.summary));
    }
    bound.app->footer(fmt::format("Example:\n  {}", row.example));
    for (const Argument& argument : row.arguments) bind_argument(bound, argument);
    bound.app->add_flag("--json", bound.json, "print JSON for machines");
    bound.app->add_option("--config", bound.config, fmt::format("the configuration file [{}]", kDefaultConfigFile))
        ->envname("POSTHOUSE_CONFIG")
        ->type_name("FILE");
}

int report(const Error& error) {
    if (!error.context.empty()) std::cerr << "posthouse: " << log::escape(error.context) << '\n';
    return kExitRefused;
}

int run_command(const Bound& bound, const CliHooks& hooks) {
    Output output(std::cout, bound.json ? Format::json : Format::text);
    Invocation call(hooks, output, bound.config.empty() ? std::string(kDefaultConfigFile) : bound.config);
    for (const auto& [name, values] : bound.values) {
        if (!values.empty()) call.put(name, values);
    }
    for (const auto& [name, set] : bound.flags) {
        if (set) call.put(name, {"true"});
    }
    const Result<> done = bound.row->run(call);
    std::cout.flush();
    return done ? kExitDone : report(done.error());
}

int parse_and_run(int argc, const char* const* argv, const CliHooks& hooks) {
    CLI::App app{"Posthouse: a mail server with a relay built in."};
    app.name("posthouse");
    app.require_subcommand(1);
    app.set_version_flag("--version", std::string("posthouse ") + POSTHOUSE_VERSION);
    app.footer("posthouse COMMAND --help tells more and shows an example.");

    std::string serve_config{kDefaultConfigFile};
    CLI::App* serve = app.add_subcommand("serve", "run the server");
    serve->add_option("--config", serve_config, fmt::format("the configuration file [{}]", kDefaultConfigFile))
        ->envname("POSTHOUSE_CONFIG")
        ->type_name("FILE");
    serve->footer("Example:\n  posthouse serve --config /etc/posthouse/posthouse.toml");
    CLI::App* sendmail = app.add_subcommand("sendmail", "hand in a message from standard input, as /usr/sbin/sendmail");
    sendmail->footer(
        "Options: -t recipients from the header; -f ADDRESS sender; -i, -oi a line with one dot is text;\n"
        "-F NAME sender's name; -C FILE configuration; other options of sendmail are taken and ignored.\n"
        "Example:\n  posthouse sendmail -f alice@example.org bob@example.net < message.txt");

    std::map<std::string, CLI::App*, std::less<>> groups;
    for (const Group& group : kGroups) {
        const std::size_t blank = group.name.rfind(' ');
        CLI::App& above = blank == std::string_view::npos ? app : *groups.find(group.name.substr(0, blank))->second;
        CLI::App* sub = above.add_subcommand(std::string(group.name.substr(blank + 1)), std::string(group.summary));
        sub->require_subcommand(1);
        groups.emplace(group.name, sub);
    }
    std::list<Bound> bounds;
    for (const Command* row : all_commands()) {
        Bound& bound = bounds.emplace_back();
        bound.row = row;
        const auto same = row->group.empty() ? groups.find(row->verb) : groups.end();
        bind_command(bound, row->group.empty() ? app : *groups.find(row->group)->second,
                     same == groups.end() ? nullptr : same->second);
    }
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? kExitDone : kExitUsage;
    }
    if (serve->parsed()) return hooks.serve(serve_config);
    const auto chosen = std::ranges::find_if(
        bounds, [](const Bound& bound) { return bound.app->parsed() && bound.app->get_subcommands().empty(); });
    return chosen == bounds.end() ? kExitUsage : run_command(*chosen, hooks);
}

// argv[0] "sendmail", or "posthouse sendmail": the arguments after it; nothing for any other command.
std::optional<std::vector<std::string>> sendmail_arguments(int argc, const char* const* argv) {
    if (argc < 1) return std::nullopt;
    const std::string_view path(argv[0]);
    const bool by_name = path.substr(path.rfind('/') + 1) == "sendmail";
    const bool by_verb = !by_name && argc > 1 && std::string_view(argv[1]) == "sendmail";
    if (!by_name && !by_verb) return std::nullopt;
    std::vector<std::string> out(argv + (by_name ? 1 : 2), argv + argc);
    if (std::ranges::find(out, "--help") != out.end()) return std::nullopt;
    return out;
}

}  // namespace

int run_cli(int argc, const char* const* argv, const CliHooks& hooks) {
    // A command says itself, in its own words, what a room of the store would log; serve takes its level from the file.
    log::set_level(log::Level::error);
    try {
        if (const auto ready = crypto::init(); !ready) return report(ready.error());
        if (const auto arguments = sendmail_arguments(argc, argv)) return run_sendmail(*arguments, hooks);
        return parse_and_run(argc, argv, hooks);
    } catch (const std::exception& e) {  // a bug or no memory: said, not thrown at the shell
        return report(Error(Errc::internal, fmt::format("this is a bug in Posthouse: {}", e.what())));
    }
}

void Invocation::put(std::string_view name, std::vector<std::string> values) {
    values_[std::string(name)] = std::move(values);
}

bool Invocation::has(std::string_view name) const { return values_.contains(name); }

std::string Invocation::get(std::string_view name) const {
    const auto found = values_.find(name);
    return found == values_.end() || found->second.empty() ? std::string() : found->second.front();
}

std::vector<std::string> Invocation::all(std::string_view name) const {
    const auto found = values_.find(name);
    return found == values_.end() ? std::vector<std::string>() : found->second;
}

Result<Settings> Invocation::settings() {
    if (!settings_) {
        TRY(settings_, hooks_.load_config(config_file_));
    }
    return *settings_;
}

Result<storage::Store*> Invocation::store() {
    if (!store_) {
        TRY(const Settings found, settings());
        storage::StoreOptions options;
        options.directory = found.data;
        options.free_octets_min = found.free_octets_min;
        auto opened = storage::Store::open(std::move(options));
        if (!opened) {
            const bool missing = opened.error().code == Errc::not_found;
            return Error(opened.error().code,
                         missing ? fmt::format("there is no store in {}; make one with posthouse init", found.data)
                                 : opened.error().context);
        }
        store_ = *std::move(opened);
    }
    return store_.get();
}

}  // namespace posthouse::admin
