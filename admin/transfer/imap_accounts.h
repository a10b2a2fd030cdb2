#pragma once
/// admin/transfer/imap_accounts: the list of accounts that leave a shared host together (RFC 4180). Pure.
///
///     account,source,password
///     alice@example.org,imaps://alice@old.example.net,her password
///     "bob@example.org",imaps://bob@old.example.net,file:/etc/posthouse/bob.password
/// A first line of column names, empty lines and lines that begin with '#' are passed over. A field may stand in
/// quotes,
/// with quotes in it doubled. A bad line is told with its number and stops no other.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "admin/transfer/imap_url.h"

namespace posthouse::transfer {

inline constexpr std::size_t kAccountsOctetsMax = 4UL * 1024 * 1024;

struct AccountLine {
    std::size_t number = 0;  ///< of the line, from 1
    std::string account;     ///< here
    ImapUrl url;
    std::string password;
    std::string password_file;   ///< where the password is to be read, in place of `password`
    std::optional<Error> wrong;  ///< what is wrong with the line
};

std::vector<AccountLine> parse_accounts(std::string_view csv);

}  // namespace posthouse::transfer
