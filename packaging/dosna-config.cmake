# find_package(dosna) gives the target dosna::dosna.
include("${CMAKE_CURRENT_LIST_DIR}/dosna-targets.cmake")
