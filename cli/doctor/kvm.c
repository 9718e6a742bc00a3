/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvm.c - what /dev/kvm is, may, and can.
 *
 * Where a machine has no VT-x or SVM, /dev/kvm can still be there, backed by a
 * module that runs guest programs natively and guest kernels by emulation. Such
 * a KVM is recognised by the absence of both CPU flags, or by its module.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <pwd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include "cli/doctor/doctor.h"
#include "cli/base/host.h"

#define DEV "/dev/kvm"
#define API_VERSION 12

static bool emulates_kernels(void)
{
	char text[65536];

	if (!access("/sys/module/kvm_pvm", F_OK))
		return true;
#if defined(__x86_64__)
	if (host_read("/proc/cpuinfo", text, sizeof(text)) > 0)
		return !strstr(text, " vmx ") && !strstr(text, " svm ");
#else
	(void)text;
#endif
	return false;
}

static void no_access(struct doctor_finding *f)
{
	const struct passwd *pw = getpwuid(geteuid());
	char remedy[256];

	snprintf(remedy, sizeof(remedy), "run 'sudo usermod -aG kvm %s' and log in again, or for now "
		 "'sudo setfacl -m u:%s:rw " DEV "'", pw ? pw->pw_name : "USER",
		 pw ? pw->pw_name : "USER");
	doctor_set(f, DOCTOR_FAIL, remedy, "this user may not open " DEV);
}

static void check_kvm(struct doctor_finding *f)
{
	auto_fd fd = open(DEV, O_RDWR | O_CLOEXEC);
	int version;

	if (fd < 0 && errno == EACCES) {
		no_access(f);
		return;
	}
	if (fd < 0 && errno == ENOENT) {
		doctor_set(f, DOCTOR_FAIL, "enable virtualization in the firmware and run 'sudo "
			   "modprobe kvm_intel' or 'sudo modprobe kvm_amd'; in a cloud machine, "
			   "enable nested virtualization", "there is no " DEV);
		return;
	}
	if (fd < 0) {
		doctor_set(f, DOCTOR_FAIL, "look at 'dmesg | grep -i kvm' for the reason",
			   DEV " cannot be opened: %s", strerror(errno));
		return;
	}
	version = ioctl(fd, KVM_GET_API_VERSION, 0);
	if (version != API_VERSION)
		doctor_set(f, DOCTOR_FAIL, "use Linux 5.10 or later", DEV " has API version %d, "
			   "where %d is needed", version, API_VERSION);
	else
		doctor_set(f, DOCTOR_OK, NULL, DEV " opens, API version %d", version);
}

static const struct { int cap; const char *name; bool needed; } caps[] = {
	{ KVM_CAP_USER_MEMORY, "user memory", true },
	{ KVM_CAP_IOEVENTFD, "ioeventfd", true },
	{ KVM_CAP_IRQFD, "irqfd", true },
	{ KVM_CAP_IMMEDIATE_EXIT, "immediate_exit", true },
#if defined(__x86_64__)
	{ KVM_CAP_IRQCHIP, "irqchip", true },
	{ KVM_CAP_EXT_CPUID, "ext_cpuid", true },
	{ KVM_CAP_XSAVE2, "xsave2", false },
	{ KVM_CAP_ADJUST_CLOCK, "kvm-clock", false },
#endif
	{ KVM_CAP_READONLY_MEM, "read-only memory", false },
};

static void check_caps(struct doctor_finding *f)
{
	auto_fd fd = open(DEV, O_RDWR | O_CLOEXEC);
	char missing[160] = "";
	bool fatal = false;
	int vcpus;

	if (fd < 0) {
		doctor_set(f, DOCTOR_FAIL, "first do what the line for kvm says", "not looked at");
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(caps); i++) {
		size_t len = strlen(missing);

		if (ioctl(fd, KVM_CHECK_EXTENSION, caps[i].cap) > 0)
			continue;
		snprintf(missing + len, sizeof(missing) - len, "%s%s", len ? ", " : "",
			 caps[i].name);
		fatal |= caps[i].needed;
	}
	vcpus = ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
	if (missing[0])
		doctor_set(f, fatal ? DOCTOR_FAIL : DOCTOR_WARN, "use Linux 5.17 or later",
			   "this KVM lacks %s", missing);
	else
		doctor_set(f, DOCTOR_OK, NULL, "everything that is used is there, up to %d CPUs",
			   vcpus);
}

static void check_speed(struct doctor_finding *f)
{
	if (access(DEV, F_OK))
		doctor_set(f, DOCTOR_FAIL, "first do what the line for kvm says", "not looked at");
	else if (emulates_kernels())
		doctor_set(f, DOCTOR_WARN, "for full speed use a machine with VT-x or SVM (nested "
			   "virtualization in a cloud); stock kernels do not run here, the one that "
			   "comes with sandbox does", "this KVM emulates the guest's kernel: guest "
			   "programs run at full speed, their system calls and a cold boot (half a "
			   "minute, once for a template) do not");
	else
		doctor_set(f, DOCTOR_OK, NULL, "guest kernels run natively");
}

const struct doctor_check doctor_kvm_checks[] = {
	{ "kvm", check_kvm },
	{ "capabilities", check_caps },
	{ "speed", check_speed },
	{ 0 },
};
