#include <healthsvc/stats.h>

struct stats stats;
