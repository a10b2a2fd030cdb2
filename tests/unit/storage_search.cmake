posthouse_unit_test(NAME storage_search
  SOURCES storage/search/search_index_test.cpp storage/search/search_damage_test.cpp
          storage/search/trigram_test.cpp storage/search/uid_map_test.cpp storage/search/verify_test.cpp
  USES    storage storage_search protocols_mime)
target_link_libraries(unit_storage_search PRIVATE ${POSTHOUSE_LIB_sqlite3} fmt::fmt)
