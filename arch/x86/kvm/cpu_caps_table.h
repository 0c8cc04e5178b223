/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The CPUID features that KVM knows, for cpu_caps.h, which see for the kinds.
 *
 * One feature per line, in the order of the bits; bits that KVM doesn't offer are
 * comments, so that nobody has to guess whether one was forgotten.  CAP_WORD is the
 * word in progress: a feature of another word doesn't compile.
 *
 *	CAP(kind, name)		X86_FEATURE_name
 *	CAP_KVM(kind, name)	the same, for features that the kernel keeps in a word of
 *				its own, so that KVM_X86_FEATURE_name is their place
 *
 * See Documentation/virt/kvm/x86/cpu-caps.rst for how to add a feature.
 */

#define CAP_WORD CPUID_1_ECX
	CAP(hardware,		XMM3)
	CAP(hardware,		PCLMULQDQ)
	CAP(vendor,		DTES64)		/* VMX, with PEBS */
	/*
	 * MONITOR and MWAIT are emulated as NOPs, i.e. badly: never advertise
	 * them, but let a guest use them that has them.  KVM changes the bit
	 * with MISC_ENABLE.
	 */
	CAP(runtime,		MWAIT)
	/* DS-CPL */
	CAP(vendor,		VMX)		/* nested */
	/* SMX, EST, TM2 */
	CAP(hardware,		SSSE3)
	/* CNXT-ID, SDBG */
	CAP(hardware,		FMA)
	CAP(hardware,		CX16)
	/* xTPR Update */
	CAP(hardware,		PDCM)
	/* Reserved */
	CAP(hardware,		PCID)
	/* DCA */
	CAP(hardware,		XMM4_1)
	CAP(hardware,		XMM4_2)
	CAP(emulated,		X2APIC)
	CAP(hardware,		MOVBE)
	CAP(hardware,		POPCNT)
	CAP(emulated,		TSC_DEADLINE_TIMER)
	CAP(hardware,		AES)
	CAP(hardware,		XSAVE)
	CAP(runtime,		OSXSAVE)	/* CR4.OSXSAVE */
	CAP(hardware,		AVX)
	CAP(hardware,		F16C)
	CAP(hardware,		RDRAND)
	CAP(emulated,		HYPERVISOR)
#undef CAP_WORD

#define CAP_WORD CPUID_1_EDX
	CAP(hardware,		FPU)
	CAP(hardware,		VME)
	CAP(hardware,		DE)
	CAP(hardware,		PSE)
	CAP(hardware,		TSC)
	CAP(hardware,		MSR)
	CAP(hardware,		PAE)
	CAP(hardware,		MCE)
	CAP(hardware,		CX8)
	CAP(hardware,		APIC)		/* follows APIC_BASE in the guest */
	/* Reserved */
	CAP(hardware,		SEP)
	CAP(hardware,		MTRR)
	CAP(hardware,		PGE)
	CAP(hardware,		MCA)
	CAP(hardware,		CMOV)
	CAP(hardware,		PAT)
	CAP(hardware,		PSE36)
	/* PSN */
	CAP(hardware,		CLFLUSH)
	/* Reserved */
	CAP(vendor,		DS)		/* VMX, with PEBS */
	/* ACPI */
	CAP(hardware,		MMX)
	CAP(hardware,		FXSR)
	CAP(hardware,		XMM)
	CAP(hardware,		XMM2)
	CAP(hardware,		SELFSNOOP)
	/* HTT, TM, IA64, PBE */
#undef CAP_WORD

#define CAP_WORD CPUID_7_0_EBX
	CAP(hardware,		FSGSBASE)
	CAP(emulated,		TSC_ADJUST)
	CAP(hardware,		SGX)
	CAP(hardware,		BMI1)
	CAP(hardware,		HLE)
	CAP(hardware,		AVX2)
	CAP(hardware,		FDP_EXCPTN_ONLY)
	CAP(hardware,		SMEP)
	CAP(hardware,		BMI2)
	CAP(hardware,		ERMS)
	CAP(hardware,		INVPCID)	/* VMX: needs a control */
	CAP(hardware,		RTM)
	/* RDT_M */
	CAP(hardware,		ZERO_FCS_FDS)
	CAP(vendor,		MPX)		/* VMX */
	/* RDT_A */
	CAP(hardware,		AVX512F)
	CAP(hardware,		AVX512DQ)
	CAP(hardware,		RDSEED)
	CAP(hardware,		ADX)
	CAP(hardware,		SMAP)
	CAP(hardware,		AVX512IFMA)
	/* Reserved */
	CAP(hardware,		CLFLUSHOPT)
	CAP(hardware,		CLWB)
	CAP(vendor,		INTEL_PT)	/* VMX, in host-guest mode */
	CAP(hardware,		AVX512PF)
	CAP(hardware,		AVX512ER)
	CAP(hardware,		AVX512CD)
	CAP(hardware,		SHA_NI)
	CAP(hardware,		AVX512BW)
	CAP(hardware,		AVX512VL)
#undef CAP_WORD

#define CAP_WORD CPUID_7_ECX
	/* PREFETCHWT1 */
	CAP(hardware,		AVX512VBMI)
	CAP(hardware,		UMIP)
	CAP(hardware,		PKU)		/* see kvm_build_cpu_caps() */
	CAP(runtime,		OSPKE)		/* CR4.PKE */
	CAP(vendor,		WAITPKG)	/* VMX: needs a control */
	CAP(hardware,		AVX512_VBMI2)
	/* SHSTK */
	CAP(hardware,		GFNI)
	CAP(hardware,		VAES)
	CAP(hardware,		VPCLMULQDQ)
	CAP(hardware,		AVX512_VNNI)
	CAP(hardware,		AVX512_BITALG)
	/* TME */
	CAP(hardware,		AVX512_VPOPCNTDQ)
	/* Reserved */
	/*
	 * A guest's CR4.LA57 has nothing to do with how many levels the host
	 * uses, e.g. with "no5lvl".
	 */
	CAP(raw,		LA57)
	/* MAWAU */
	CAP(hardware,		RDPID)
	/* KL */
	CAP(hardware,		BUS_LOCK_DETECT)
	CAP(hardware,		CLDEMOTE)
	/* Reserved */
	CAP(hardware,		MOVDIRI)
	CAP(hardware,		MOVDIR64B)
	/* ENQCMD */
	CAP(hardware,		SGX_LC)
	/* PKS */
#undef CAP_WORD

#define CAP_WORD CPUID_7_EDX
	CAP(hardware,		AVX512_4VNNIW)
	CAP(hardware,		AVX512_4FMAPS)
	CAP(hardware,		FSRM)
	/* UINTR */
	CAP(hardware,		AVX512_VP2INTERSECT)
	/* SRBDS_CTRL */
	CAP(hardware,		MD_CLEAR)
	/* RTM_ALWAYS_ABORT, TSX_FORCE_ABORT */
	CAP(hardware,		SERIALIZE)
	/* HYBRID_CPU */
	CAP(hardware,		TSXLDTRK)
	/* PCONFIG, ARCH_LBR, IBT */
	CAP(hardware,		AMX_BF16)
	CAP(hardware,		AVX512_FP16)
	CAP(hardware,		AMX_TILE)
	CAP(hardware,		AMX_INT8)
	CAP(hardware,		SPEC_CTRL)	/* and on AMD, see kvm_build_cpu_caps() */
	CAP(hardware,		INTEL_STIBP)	/* and on AMD, see kvm_build_cpu_caps() */
	CAP(hardware,		FLUSH_L1D)
	CAP(emulated,		ARCH_CAPABILITIES)
	/* CORE_CAPABILITIES */
	CAP(hardware,		SPEC_CTRL_SSBD)	/* and on AMD, see kvm_build_cpu_caps() */
#undef CAP_WORD

#define CAP_WORD CPUID_7_1_EAX
	/* SHA512, SM3, SM4, RAO-INT */
	CAP(hardware,		AVX_VNNI)
	CAP(hardware,		AVX512_BF16)
	/* LASS */
	CAP(hardware,		CMPCCXADD)
	/* ArchPerfmonExt */
	CAP(hardware,		FZRM)
	CAP(hardware,		FSRS)
	CAP(hardware,		FSRC)
	/* FRED, LKGS, WRMSRNS */
	CAP(hardware,		AMX_FP16)
	/* HRESET */
	CAP(hardware,		AVX_IFMA)
	CAP(hardware,		LAM)
	/* MSRLIST, INVD_DISABLE_POST_BIOS_DONE */
#undef CAP_WORD

#define CAP_WORD CPUID_7_1_EDX
	CAP(hardware,		AVX_VNNI_INT8)
	CAP(hardware,		AVX_NE_CONVERT)
	CAP(hardware,		AMX_COMPLEX)
	/* AVX-VNNI-INT16, UTMR */
	CAP(hardware,		PREFETCHITI)
	/* USER_MSR, UIRET_UIF, CET_SSS */
	CAP(hardware,		AVX10)
	/* APX_F */
#undef CAP_WORD

#define CAP_WORD CPUID_7_2_EDX
	CAP(hardware,		INTEL_PSFD)
	CAP(hardware,		IPRED_CTRL)
	CAP_KVM(hardware,	RRSBA_CTRL)
	CAP(hardware,		DDPD_U)
	CAP_KVM(hardware,	BHI_CTRL)
	CAP(hardware,		MCDT_NO)
	/* UC-lock disable */
#undef CAP_WORD

#define CAP_WORD CPUID_D_1_EAX
	CAP(hardware,		XSAVEOPT)
	CAP(hardware,		XSAVEC)
	CAP(hardware,		XGETBV1)
	CAP(hardware,		XSAVES)		/* VMX: needs a control */
	CAP(x86_64,		XFD)
#undef CAP_WORD

#define CAP_WORD CPUID_12_EAX
	CAP_KVM(scattered,	SGX1)
	CAP_KVM(scattered,	SGX2)
	/* OSS, EVERIFYREPORT2, EUPDATESVN */
	CAP_KVM(scattered,	SGX_EDECCSSA)
#undef CAP_WORD

#define CAP_WORD CPUID_24_0_EBX
	CAP(hardware,		AVX10_128)
	CAP(hardware,		AVX10_256)
	CAP(hardware,		AVX10_512)
#undef CAP_WORD

#define CAP_WORD CPUID_8000_0001_ECX
	CAP(hardware,		LAHF_LM)
	CAP(hardware,		CMP_LEGACY)
	CAP(vendor,		SVM)		/* nested */
	/* ExtApicSpace */
	CAP(hardware,		CR8_LEGACY)
	CAP(hardware,		ABM)
	CAP(hardware,		SSE4A)
	CAP(hardware,		MISALIGNSSE)
	CAP(hardware,		3DNOWPREFETCH)
	CAP(hardware,		OSVW)
	/* IBS */
	CAP(hardware,		XOP)
	/* SKINIT, WDT, LWP */
	CAP(hardware,		FMA4)
	/* TCE, NodeId */
	CAP(hardware,		TBM)
	CAP(hardware,		TOPOEXT)
	CAP(vendor,		PERFCTR_CORE)	/* SVM, with enough counters */
	/* PerfCtrExtNB, DataBkptExt, PerfTsc, PerfCtrExtLLC, MwaitExtended */
#undef CAP_WORD

#define CAP_WORD CPUID_8000_0001_EDX
	CAP(alias,		FPU)
	CAP(alias,		VME)
	CAP(alias,		DE)
	CAP(alias,		PSE)
	CAP(alias,		TSC)
	CAP(alias,		MSR)
	CAP(alias,		PAE)
	CAP(alias,		MCE)
	CAP(alias,		CX8)
	CAP(alias,		APIC)
	/* Reserved */
	CAP(hardware,		SYSCALL)
	CAP(alias,		MTRR)
	CAP(alias,		PGE)
	CAP(alias,		MCA)
	CAP(alias,		CMOV)
	CAP(alias,		PAT)
	CAP(alias,		PSE36)
	/* Reserved, MP */
	CAP(hardware,		NX)
	/* Reserved */
	CAP(hardware,		MMXEXT)
	CAP(alias,		MMX)
	CAP(alias,		FXSR)
	CAP(hardware,		FXSR_OPT)
	CAP(x86_64,		GBPAGES)	/* see kvm_build_cpu_caps(), too */
	CAP(hardware,		RDTSCP)		/* VMX: needs a control */
	/* Reserved */
	CAP(x86_64,		LM)
	CAP(hardware,		3DNOWEXT)
	CAP(hardware,		3DNOW)
#undef CAP_WORD

#define CAP_WORD CPUID_8000_0007_EDX
	CAP_KVM(scattered,	CONSTANT_TSC)
#undef CAP_WORD

/* See kvm_build_cpu_caps() for what Intel's CPUs have of it. */
#define CAP_WORD CPUID_8000_0008_EBX
	CAP(hardware,		CLZERO)
	/* InstRetCntMsr */
	CAP(hardware,		XSAVEERPTR)
	/* INVLPGB, RDPRU, BE, MCOMMIT */
	CAP(hardware,		WBNOINVD)
	CAP(hardware,		AMD_IBPB)
	/* INT_WBINVD */
	CAP(hardware,		AMD_IBRS)
	CAP(hardware,		AMD_STIBP)
	/* IbrsAlwaysOn */
	CAP(hardware,		AMD_STIBP_ALWAYS_ON)
	/* IbrsPreferred, IbrsSameMode, EferLmsleUnsupported, INVLPGBnestedPages, PPIN */
	CAP(hardware,		AMD_SSBD)
	CAP(hardware,		VIRT_SSBD)
	CAP(hardware,		AMD_SSB_NO)
	/* CPPC */
	CAP(hardware,		AMD_PSFD)
	/* BTC_NO, IBPB_RET */
#undef CAP_WORD

/* All of it is SVM: what KVM virtualizes for nested guests. */
#define CAP_WORD CPUID_8000_000A_EDX
	CAP(vendor,		NPT)
	CAP(vendor,		LBRV)
	/* SVML */
	CAP(vendor,		NRIPS)
	CAP(vendor,		TSCRATEMSR)
	CAP(vendor,		VMCBCLEAN)
	CAP(vendor,		FLUSHBYASID)
	/* DecodeAssists, Reserved */
	CAP(vendor,		PAUSEFILTER)
	CAP(vendor,		PFTHRESHOLD)
	/* AVIC */
	CAP(vendor,		V_VMSAVE_VMLOAD)
	CAP(vendor,		VGIF)
	/* GMET, x2AVIC, SSSCheck, SpecCtrl, ROGPT, HOST_MCE_OVERRIDE, TlbiCtl */
	CAP(vendor,		VNMI)
	/* IbsVirt, ExtLvtOffsetFaultChg */
	CAP(vendor,		SVME_ADDR_CHK)
	/* BusLockThreshold, IdleHltIntercept, EnhancedShutdownIntercept */
#undef CAP_WORD

#define CAP_WORD CPUID_8000_001F_EAX
	CAP(vendor,		SME)
	CAP(vendor,		SEV)
	/* VM_PAGE_FLUSH */
	CAP(vendor,		SEV_ES)
	CAP(vendor,		SEV_SNP)
	/* VMPL, RMPQUERY, VmplSSS, SecureTsc, V_TSC_AUX */
	CAP(hardware,		SME_COHERENT)
	/* 64BitHost, RestrictedInjection, AlternateInjection, DebugVirt, ... */
#undef CAP_WORD

#define CAP_WORD CPUID_8000_0021_EAX
	CAP(hardware,		NO_NESTED_DATA_BP)
	CAP(hardware,		WRMSR_XX_BASE_NS)
	/*
	 * LFENCE_RDTSC is older than AMD's bit for it: LFENCE is serializing on
	 * most CPUs with SSE2, and telling so in one place helps userspace.
	 */
	CAP(synthesized,	LFENCE_RDTSC)
	/* SmmPgCfgLock */
	CAP(synthesized,	VERW_CLEAR)
	CAP(hardware,		NULL_SEL_CLR_BASE)	/* see kvm_build_cpu_caps(), too */
	/* UpperAddressIgnore */
	CAP(hardware,		AUTOIBRS)
	CAP(emulated,		NO_SMM_CTL_MSR)
	/* FSRS, FSRC, PrefetchCtlMsr, CpuidUserDis, EPSF */
	CAP(synthesized,	SBPB)
	CAP(synthesized,	IBPB_BRTYPE)
	CAP(synthesized,	SRSO_NO)
	CAP(hardware,		SRSO_USER_KERNEL_NO)
#undef CAP_WORD

/*
 * A guest that takes these for granted doesn't defend itself.  They must come from
 * the kernel, which knows whether the CPU and its microcode deserve them.
 */
#define CAP_WORD CPUID_8000_0021_ECX
	CAP_KVM(synthesized,	TSA_SQ_NO)
	CAP_KVM(synthesized,	TSA_L1_NO)
	CAP_KVM(synthesized,	TSA_FILL_NO)
#undef CAP_WORD

#define CAP_WORD CPUID_8000_0022_EAX
	CAP_KVM(hardware,	PERFMON_V2)	/* unless SVM finds it useless */
#undef CAP_WORD

#define CAP_WORD CPUID_C000_0001_EDX
	CAP(hardware,		XSTORE)
	CAP(hardware,		XSTORE_EN)
	CAP(hardware,		XCRYPT)
	CAP(hardware,		XCRYPT_EN)
	CAP(hardware,		ACE2)
	CAP(hardware,		ACE2_EN)
	CAP(hardware,		PHE)
	CAP(hardware,		PHE_EN)
	CAP(hardware,		PMM)
	CAP(hardware,		PMM_EN)
#undef CAP_WORD
