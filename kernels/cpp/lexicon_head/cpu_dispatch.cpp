#include "cpu_dispatch.hpp"

namespace lexlip {

const std::vector<const CpuKernels*>& cpu_paths() {
  static const std::vector<const CpuKernels*> paths = [] {
    std::vector<const CpuKernels*> here;
    for (const CpuKernels* kernels :
         {amx_kernels(), avx512_vnni_kernels(), avx2_kernels(), portable_kernels()})
      if (kernels != nullptr) here.push_back(kernels);
    return here;
  }();
  return paths;
}

const CpuKernels* find_cpu_path(std::string_view name) {
  for (const CpuKernels* kernels : cpu_paths())
    if (name == kernels->name) return kernels;
  return nullptr;
}

}  // namespace lexlip
