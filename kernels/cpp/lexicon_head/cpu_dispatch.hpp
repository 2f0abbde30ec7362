// Which CPU paths run on this machine.
#pragma once

#include <string_view>
#include <vector>

#include "cpu_kernels.hpp"

namespace lexlip {

// Fastest first; the last one is always the portable path.
const std::vector<const CpuKernels*>& cpu_paths();

// The path of that name, or null if it does not run here.
const CpuKernels* find_cpu_path(std::string_view name);

}  // namespace lexlip
