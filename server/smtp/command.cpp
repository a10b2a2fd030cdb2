#include "server/smtp/command.h"

#include <vector>

#include "protocols/base/ascii.h"

namespace posthouse::server::smtp {

std::span<const Command> all_commands() {
    static const std::vector<Command> kAll = [] {
        std::vector<Command> all;
        for (const auto rows : {hello_commands(), mail_commands(), data_commands(), tls_commands()}) {
            all.insert(all.end(), rows.begin(), rows.end());
        }
        return all;
    }();
    return kAll;
}

const Command* find_command(std::string_view verb) {
    for (const Command& row : all_commands()) {
        if (ascii::equals_ci(row.verb, verb)) return &row;
    }
    return nullptr;
}

}  // namespace posthouse::server::smtp
