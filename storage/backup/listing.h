#pragma once
/// storage/backup/listing (internal): the names in a directory. Threads: any.
#include <string>
#include <vector>

#include "storage/file.h"

namespace posthouse::storage::backup {

/// Without "." and "..", in no order.
Result<std::vector<std::string>> list_directory(const Descriptor& above, const char* name);

}  // namespace posthouse::storage::backup
