#pragma once
/// storage/check/bodies (internal): reads every live record and judges it. Takes rows in short snapshots, so that a
/// running server can checkpoint, and asks again about whatever looks wrong.
/// Threads: one.
#include "storage/check/check.h"

namespace posthouse::storage {

Result<> check_bodies(Store& store, const CheckOptions& options, CheckReport& report, const CheckObserver& observer);

}  // namespace posthouse::storage
