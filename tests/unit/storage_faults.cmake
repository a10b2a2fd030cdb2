posthouse_unit_test(NAME storage_faults
  SOURCES storage/damage_test.cpp storage/fault_loop_test.cpp
  USES    storage)
target_link_libraries(unit_storage_faults PRIVATE ZLIB::ZLIB)
# Thousands of stores are made and thrown away: in memory where the system has a place for that.
if(EXISTS /dev/shm)
  set_tests_properties(unit_storage_faults PROPERTIES ENVIRONMENT "TMPDIR=/dev/shm")
endif()
