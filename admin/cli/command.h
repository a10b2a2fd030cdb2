#pragma once
/// admin/cli/command: a command is one row: what it is called, what it takes, and its handler beside it.
/// Each file of commands exports its rows; parser.cpp joins them. Help, parsing and dispatch read nothing else.
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "admin/cli/cli.h"
#include "admin/cli/output.h"

namespace posthouse::admin {

/// One argument. A name with dashes is an option or a flag, one without is positional.
struct Argument {
    enum class Kind {
        positional,
        positional_optional,
        positional_many,
        positional_any,
        option,
        option_required,
        option_many,
        flag
    };
    Kind kind;
    std::string_view name;  ///< "ADDRESS", "--quota"
    std::string_view help;
};

/// One call of a command: its arguments, where output goes, and the store behind it, opened when it is first needed.
class Invocation {
 public:
    Invocation(const CliHooks& hooks, Output& output, std::string config_file)
        : hooks_(hooks), output_(output), config_file_(std::move(config_file)) {}

    void put(std::string_view name, std::vector<std::string> values);
    bool has(std::string_view name) const;
    /// The value, or "" where it was not given.
    std::string get(std::string_view name) const;
    std::vector<std::string> all(std::string_view name) const;

    const CliHooks& hooks() const { return hooks_; }
    Output& out() { return output_; }
    const std::string& config_file() const { return config_file_; }
    Result<Settings> settings();
    /// The store named by the configuration. Errors say what to do.
    Result<storage::Store*> store();

 private:
    const CliHooks& hooks_;
    Output& output_;
    std::string config_file_;
    std::map<std::string, std::vector<std::string>, std::less<>> values_;
    std::optional<Settings> settings_;
    std::unique_ptr<storage::Store> store_;
};

struct Command {
    std::string_view group;  ///< "account"; "" for a command of one word
    std::string_view verb;   ///< "add"
    std::string_view summary;
    std::string_view example;
    std::span<const Argument> arguments;
    Result<> (*run)(Invocation& call);
};

/// Result<> with this code: the output said it all already; exit 1 without a sentence.
inline Error told_already() { return Error(Errc::refused, ""); }

std::span<const Command> setup_commands();  // init, version
std::span<const Command> domain_commands();
std::span<const Command> account_commands();
std::span<const Command> app_password_commands();
std::span<const Command> capability_commands();
std::span<const Command> alias_commands();
std::span<const Command> route_commands();
std::span<const Command> explain_commands();
std::span<const Command> lane_commands();
std::span<const Command> route_test_commands();
std::span<const Command> preset_commands();
std::span<const Command> way_commands();
std::span<const Command> address_commands();
std::span<const Command> client_commands();
std::span<const Command> queue_commands();
std::span<const Command> incident_commands();
std::span<const Command> suppression_commands();
std::span<const Command> dmarc_commands();  // report dmarc
std::span<const Command> guard_commands();  // account review, release
std::span<const Command> report_commands();
std::span<const Command> webhook_commands();
std::span<const Command> undelete_commands();
std::span<const Command> retention_commands();
std::span<const Command> rights_commands();
std::span<const Command> setting_commands();
std::span<const Command> stream_commands();
std::span<const Command> backup_commands();
std::span<const Command> export_commands();
std::span<const Command> import_commands();
std::span<const Command> import_imap_commands();
std::span<const Command> trace_commands();
std::span<const Command> dkim_commands();
std::span<const Command> dkim_rotation_commands();
std::span<const Command> doctor_commands();
std::span<const Command> fsck_commands();
std::span<const Command> search_commands();
std::span<const Command> token_commands();
std::span<const Command> tls_commands();  // tls, report

/// sendmail has a grammar of its own, which programs expect: `arguments` are those after the name.
int run_sendmail(std::span<const std::string> arguments, const CliHooks& hooks);

/// What GROUP stands for in the help. "a b" is a group within "a", which stands before it.
struct Group {
    std::string_view name;
    std::string_view summary;
};
inline constexpr Group kGroups[] = {
    {"domain", "the domains that this server receives mail for, or signs for"},
    {"account", "mailboxes and their owners"},
    {"account app-password", "passwords of single programs, revoked one by one"},
    {"alias", "addresses that stand for others"},
    {"route", "which mail takes which ways out"},
    {"way", "the ways out: relays, and pools of own addresses"},
    {"address", "the addresses of this machine that mail is sent from"},
    {"client", "other servers and devices that hand their mail in here"},
    {"queue", "mail that waits to go out"},
    {"incident", "what is wrong on our side, and the mail that it holds"},
    {"suppression", "addresses that get no mail for a while, and why"},
    {"webhook", "who is told of events over HTTPS"},
    {"undelete", "removed mail that can be brought back"},
    {"retention", "how long mail stays in a mailbox"},
    {"rights", "who else may use a mailbox"},
    {"stream", "kinds of mail that are sent, and lists that can be unsubscribed from"},
    {"setting", "values of policy that can be changed while the server runs"},
    {"capability", "what IMAP does not offer, when a client trips over it"},
    {"token", "keys to the HTTP API"},
    {"tls", "the security of transport to other servers"},
    {"report", "what was sent and what became of it, in figures; and what others report about our mail"},
    {"backup", "copies of the store, and the way back"},
    {"search", "the index that finds words in mail"},
    {"import", "mail from elsewhere into an account"},
    {"dkim", "the keys that sign outgoing mail"},
};

}  // namespace posthouse::admin
