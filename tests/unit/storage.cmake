posthouse_unit_test(NAME storage
  SOURCES storage/catalog_test.cpp storage/store_test.cpp
  USES    storage)
