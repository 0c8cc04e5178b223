/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The CPUID features that KVM knows.  See enum kvm_cpu_cap_kind for the kinds.
 *
 * One feature per line, in the order of the bits.  Bits that KVM does not offer are
 * comments, so that a bit without a line is known to be left out on purpose.
 * FEATURE_WORD is the word in progress; a feature of another word does not compile.
 *
 *	FEATURE(kind, name)		X86_FEATURE_name
 *	SCATTERED_FEATURE(kind, name)	the same, for a feature that the kernel keeps
 *					out of its place in CPUID, in a word of
 *					"scattered" features (see scattered.c); its
 *					place in CPUID is KVM_X86_FEATURE_name
 *
 * Some features are exceptions from what their kind says.  These are made where the
 * table is applied.
 *
 * See Documentation/virt/kvm/x86/cpu-caps.rst for how to add a feature.
 */

#define FEATURE_WORD CPUID_1_ECX
	FEATURE(hardware,	XMM3)
	FEATURE(hardware,	PCLMULQDQ)
	FEATURE(vendor,		DTES64)		/* VMX, with PEBS */
	/*
	 * MONITOR and MWAIT are emulated as NOPs, i.e. incompletely: KVM never
	 * offers them, but a guest whose CPUID has them may use them.  KVM
	 * changes the bit with MISC_ENABLE.
	 */
	FEATURE(runtime,	MWAIT)
	/* DS-CPL */
	FEATURE(vendor,		VMX)		/* nested */
	/* SMX, EST, TM2 */
	FEATURE(hardware,	SSSE3)
	/* CNXT-ID, SDBG */
	FEATURE(hardware,	FMA)
	FEATURE(hardware,	CX16)
	/* xTPR Update */
	FEATURE(hardware,	PDCM)
	/* Reserved */
	FEATURE(hardware,	PCID)
	/* DCA */
	FEATURE(hardware,	XMM4_1)
	FEATURE(hardware,	XMM4_2)
	FEATURE(emulated,	X2APIC)
	FEATURE(hardware,	MOVBE)
	FEATURE(hardware,	POPCNT)
	FEATURE(emulated,	TSC_DEADLINE_TIMER)
	FEATURE(hardware,	AES)
	FEATURE(hardware,	XSAVE)
	FEATURE(runtime,	OSXSAVE)	/* CR4.OSXSAVE */
	FEATURE(hardware,	AVX)
	FEATURE(hardware,	F16C)
	FEATURE(hardware,	RDRAND)
	FEATURE(emulated,	HYPERVISOR)
#undef FEATURE_WORD

#define FEATURE_WORD CPUID_1_EDX
	FEATURE(hardware,	FPU)
	FEATURE(hardware,	VME)
	FEATURE(hardware,	DE)
	FEATURE(hardware,	PSE)
	FEATURE(hardware,	TSC)
	FEATURE(hardware,	MSR)
	FEATURE(hardware,	PAE)
	FEATURE(hardware,	MCE)
	FEATURE(hardware,	CX8)
	FEATURE(hardware,	APIC)		/* follows APIC_BASE in the guest */
	/* Reserved */
	FEATURE(hardware,	SEP)
	FEATURE(hardware,	MTRR)
	FEATURE(hardware,	PGE)
	FEATURE(hardware,	MCA)
	FEATURE(hardware,	CMOV)
	FEATURE(hardware,	PAT)
	FEATURE(hardware,	PSE36)
	/* PSN */
	FEATURE(hardware,	CLFLUSH)
	/* Reserved */
	FEATURE(vendor,		DS)		/* VMX, with PEBS */
	/* ACPI */
	FEATURE(hardware,	MMX)
	FEATURE(hardware,	FXSR)
	FEATURE(hardware,	XMM)
	FEATURE(hardware,	XMM2)
	FEATURE(hardware,	SELFSNOOP)
	/* HTT, TM, IA64, PBE */
#undef FEATURE_WORD

#define FEATURE_WORD CPUID_7_0_EBX
	FEATURE(hardware,	FSGSBASE)
	FEATURE(emulated,	TSC_ADJUST)
	FEATURE(hardware,	SGX)
	FEATURE(hardware,	BMI1)
	FEATURE(hardware,	HLE)
	FEATURE(hardware,	AVX2)
	FEATURE(hardware,	FDP_EXCPTN_ONLY)
	FEATURE(hardware,	SMEP)
	FEATURE(hardware,	BMI2)
	FEATURE(hardware,	ERMS)
	FEATURE(hardware,	INVPCID)	/* VMX: needs a control */
	FEATURE(hardware,	RTM)
	/* RDT_M */
	FEATURE(hardware,	ZERO_FCS_FDS)
	FEATURE(vendor,		MPX)		/* VMX */
	/* RDT_A */
	FEATURE(hardware,	AVX512F)
	FEATURE(hardware,	AVX512DQ)
	FEATURE(hardware,	RDSEED)
	FEATURE(hardware,	ADX)
	FEATURE(hardware,	SMAP)
	FEATURE(hardware,	AVX512IFMA)
	/* Reserved */
	FEATURE(hardware,	CLFLUSHOPT)
	FEATURE(hardware,	CLWB)
	FEATURE(vendor,		INTEL_PT)	/* VMX, in host-guest mode */
	FEATURE(hardware,	AVX512PF)
	FEATURE(hardware,	AVX512ER)
	FEATURE(hardware,	AVX512CD)
	FEATURE(hardware,	SHA_NI)
	FEATURE(hardware,	AVX512BW)
	FEATURE(hardware,	AVX512VL)
#undef FEATURE_WORD

#define FEATURE_WORD CPUID_7_ECX
	/* PREFETCHWT1 */
	FEATURE(hardware,	AVX512VBMI)
	FEATURE(hardware,	UMIP)
	FEATURE(hardware,	PKU)		/* has an exception */
	FEATURE(runtime,	OSPKE)		/* CR4.PKE */
	FEATURE(vendor,		WAITPKG)	/* VMX: needs a control */
	FEATURE(hardware,	AVX512_VBMI2)
	/* SHSTK */
	FEATURE(hardware,	GFNI)
	FEATURE(hardware,	VAES)
	FEATURE(hardware,	VPCLMULQDQ)
	FEATURE(hardware,	AVX512_VNNI)
	FEATURE(hardware,	AVX512_BITALG)
	/* TME */
	FEATURE(hardware,	AVX512_VPOPCNTDQ)
	/* Reserved */
	/*
	 * A guest's CR4.LA57 is independent of how many levels of page tables
	 * the host uses, e.g. with "no5lvl".
	 */
	FEATURE(passthrough,	LA57)
	/* MAWAU */
	FEATURE(hardware,	RDPID)
	/* KL */
	FEATURE(hardware,	BUS_LOCK_DETECT)
	FEATURE(hardware,	CLDEMOTE)
	/* Reserved */
	FEATURE(hardware,	MOVDIRI)
	FEATURE(hardware,	MOVDIR64B)
	/* ENQCMD */
	FEATURE(hardware,	SGX_LC)
	/* PKS */
#undef FEATURE_WORD

#define FEATURE_WORD CPUID_7_EDX
	FEATURE(hardware,	AVX512_4VNNIW)
	FEATURE(hardware,	AVX512_4FMAPS)
	FEATURE(hardware,	FSRM)
	/* UINTR */
	FEATURE(hardware,	AVX512_VP2INTERSECT)
	/* SRBDS_CTRL */
	FEATURE(hardware,	MD_CLEAR)
	/* RTM_ALWAYS_ABORT, TSX_FORCE_ABORT */
	FEATURE(hardware,	SERIALIZE)
	/* HYBRID_CPU */
	FEATURE(hardware,	TSXLDTRK)
	/* PCONFIG */
	FEATURE(vendor,		ARCH_LBR)	/* VMX, if guests own the PMU */
	/* IBT */
	FEATURE(hardware,	AMX_BF16)
	FEATURE(hardware,	AVX512_FP16)
	FEATURE(hardware,	AMX_TILE)
	FEATURE(hardware,	AMX_INT8)
	FEATURE(hardware,	SPEC_CTRL)	/* and on AMD, an exception */
	FEATURE(hardware,	INTEL_STIBP)	/* and on AMD, an exception */
	FEATURE(hardware,	FLUSH_L1D)
	FEATURE(emulated,	ARCH_CAPABILITIES)
	/* CORE_CAPABILITIES */
	FEATURE(hardware,	SPEC_CTRL_SSBD)	/* and on AMD, an exception */
#undef FEATURE_WORD

#define FEATURE_WORD CPUID_7_1_EAX
	/* SHA512, SM3, SM4, RAO-INT */
	FEATURE(hardware,	AVX_VNNI)
	FEATURE(hardware,	AVX512_BF16)
	/* LASS */
	FEATURE(hardware,	CMPCCXADD)
	/* ArchPerfmonExt */
	FEATURE(hardware,	FZRM)
	FEATURE(hardware,	FSRS)
	FEATURE(hardware,	FSRC)
	/* FRED, LKGS, WRMSRNS */
	FEATURE(hardware,	AMX_FP16)
	/* HRESET */
	FEATURE(hardware,	AVX_IFMA)
	FEATURE(hardware,	LAM)
	/* MSRLIST, INVD_DISABLE_POST_BIOS_DONE */
#undef FEATURE_WORD

#define FEATURE_WORD CPUID_7_1_EDX
	FEATURE(hardware,	AVX_VNNI_INT8)
	FEATURE(hardware,	AVX_NE_CONVERT)
	FEATURE(hardware,	AMX_COMPLEX)
	/* AVX-VNNI-INT16, UTMR */
	FEATURE(hardware,	PREFETCHITI)
	/* USER_MSR, UIRET_UIF, CET_SSS */
	FEATURE(hardware,	AVX10)
	/* APX_F */
#undef FEATURE_WORD

#define FEATURE_WORD CPUID_7_2_EDX
	FEATURE(hardware,	INTEL_PSFD)
	FEATURE(hardware,	IPRED_CTRL)
	SCATTERED_FEATURE(passthrough,	RRSBA_CTRL)
	FEATURE(hardware,	DDPD_U)
	SCATTERED_FEATURE(passthrough,	BHI_CTRL)
	FEATURE(hardware,	MCDT_NO)
	/* UC-lock disable */
#undef FEATURE_WORD

#define FEATURE_WORD CPUID_D_1_EAX
	FEATURE(hardware,	XSAVEOPT)
	FEATURE(hardware,	XSAVEC)
	FEATURE(hardware,	XGETBV1)
	FEATURE(hardware,	XSAVES)		/* VMX: needs a control */
	FEATURE(x86_64,		XFD)
#undef FEATURE_WORD

#define FEATURE_WORD CPUID_12_EAX
	SCATTERED_FEATURE(hardware,	SGX1)
	SCATTERED_FEATURE(hardware,	SGX2)
	/* OSS, EVERIFYREPORT2, EUPDATESVN */
	SCATTERED_FEATURE(hardware,	SGX_EDECCSSA)
#undef FEATURE_WORD

#define FEATURE_WORD CPUID_24_0_EBX
	FEATURE(hardware,	AVX10_128)
	FEATURE(hardware,	AVX10_256)
	FEATURE(hardware,	AVX10_512)
#undef FEATURE_WORD

#define FEATURE_WORD CPUID_8000_0001_ECX
	FEATURE(hardware,	LAHF_LM)
	FEATURE(hardware,	CMP_LEGACY)
	FEATURE(vendor,		SVM)		/* nested */
	/* ExtApicSpace */
	FEATURE(hardware,	CR8_LEGACY)
	FEATURE(hardware,	ABM)
	FEATURE(hardware,	SSE4A)
	FEATURE(hardware,	MISALIGNSSE)
	FEATURE(hardware,	3DNOWPREFETCH)
	FEATURE(hardware,	OSVW)
	/* IBS */
	FEATURE(hardware,	XOP)
	/* SKINIT, WDT, LWP */
	FEATURE(hardware,	FMA4)
	/* TCE, NodeId */
	FEATURE(hardware,	TBM)
	FEATURE(hardware,	TOPOEXT)
	FEATURE(vendor,		PERFCTR_CORE)	/* SVM, with enough counters */
	/* PerfCtrExtNB, DataBkptExt, PerfTsc, PerfCtrExtLLC, MwaitExtended */
#undef FEATURE_WORD

#define FEATURE_WORD CPUID_8000_0001_EDX
	FEATURE(aliased,	FPU)
	FEATURE(aliased,	VME)
	FEATURE(aliased,	DE)
	FEATURE(aliased,	PSE)
	FEATURE(aliased,	TSC)
	FEATURE(aliased,	MSR)
	FEATURE(aliased,	PAE)
	FEATURE(aliased,	MCE)
	FEATURE(aliased,	CX8)
	FEATURE(aliased,	APIC)
	/* Reserved */
	FEATURE(hardware,	SYSCALL)
	FEATURE(aliased,	MTRR)
	FEATURE(aliased,	PGE)
	FEATURE(aliased,	MCA)
	FEATURE(aliased,	CMOV)
	FEATURE(aliased,	PAT)
	FEATURE(aliased,	PSE36)
	/* Reserved, MP */
	FEATURE(hardware,	NX)
	/* Reserved */
	FEATURE(hardware,	MMXEXT)
	FEATURE(aliased,	MMX)
	FEATURE(aliased,	FXSR)
	FEATURE(hardware,	FXSR_OPT)
	FEATURE(x86_64,		GBPAGES)	/* has an exception */
	FEATURE(hardware,	RDTSCP)		/* VMX: needs a control */
	/* Reserved */
	FEATURE(x86_64,		LM)
	FEATURE(hardware,	3DNOWEXT)
	FEATURE(hardware,	3DNOW)
#undef FEATURE_WORD

#define FEATURE_WORD CPUID_8000_0007_EDX
	SCATTERED_FEATURE(hardware,	CONSTANT_TSC)
#undef FEATURE_WORD

/* What of these is offered on Intel's CPUs is up to exceptions. */
#define FEATURE_WORD CPUID_8000_0008_EBX
	FEATURE(hardware,	CLZERO)
	/* InstRetCntMsr */
	FEATURE(hardware,	XSAVEERPTR)
	/* INVLPGB, RDPRU, BE, MCOMMIT */
	FEATURE(hardware,	WBNOINVD)
	FEATURE(hardware,	AMD_IBPB)
	/* INT_WBINVD */
	FEATURE(hardware,	AMD_IBRS)
	FEATURE(hardware,	AMD_STIBP)
	/* IbrsAlwaysOn */
	FEATURE(hardware,	AMD_STIBP_ALWAYS_ON)
	/* IbrsPreferred, IbrsSameMode, EferLmsleUnsupported, INVLPGBnestedPages, PPIN */
	FEATURE(hardware,	AMD_SSBD)
	FEATURE(hardware,	VIRT_SSBD)
	FEATURE(hardware,	AMD_SSB_NO)
	/* CPPC */
	FEATURE(hardware,	AMD_PSFD)
	/* BTC_NO, IBPB_RET */
#undef FEATURE_WORD

/* All of it is SVM: what KVM virtualizes for nested guests. */
#define FEATURE_WORD CPUID_8000_000A_EDX
	FEATURE(vendor,		NPT)
	FEATURE(vendor,		LBRV)
	/* SVML */
	FEATURE(vendor,		NRIPS)
	FEATURE(vendor,		TSCRATEMSR)
	FEATURE(vendor,		VMCBCLEAN)
	FEATURE(vendor,		FLUSHBYASID)
	/* DecodeAssists, Reserved */
	FEATURE(vendor,		PAUSEFILTER)
	FEATURE(vendor,		PFTHRESHOLD)
	/* AVIC */
	FEATURE(vendor,		V_VMSAVE_VMLOAD)
	FEATURE(vendor,		VGIF)
	/* GMET, x2AVIC, SSSCheck, SpecCtrl, ROGPT, HOST_MCE_OVERRIDE, TlbiCtl */
	FEATURE(vendor,		VNMI)
	/* IbsVirt, ExtLvtOffsetFaultChg */
	FEATURE(vendor,		SVME_ADDR_CHK)
	/* BusLockThreshold, IdleHltIntercept, EnhancedShutdownIntercept */
#undef FEATURE_WORD

#define FEATURE_WORD CPUID_8000_001F_EAX
	FEATURE(vendor,		SME)
	FEATURE(vendor,		SEV)
	/* VM_PAGE_FLUSH */
	FEATURE(vendor,		SEV_ES)
	FEATURE(vendor,		SEV_SNP)
	/* VMPL, RMPQUERY, VmplSSS, SecureTsc, V_TSC_AUX */
	FEATURE(hardware,	SME_COHERENT)
	/* 64BitHost, RestrictedInjection, AlternateInjection, DebugVirt, ... */
#undef FEATURE_WORD

#define FEATURE_WORD CPUID_8000_0021_EAX
	FEATURE(hardware,	NO_NESTED_DATA_BP)
	FEATURE(hardware,	WRMSR_XX_BASE_NS)
	/*
	 * The kernel's LFENCE_RDTSC is older than AMD's bit for it: LFENCE is
	 * serializing on most CPUs with SSE2, and userspace needs to look for
	 * that in one place only.
	 */
	FEATURE(synthesized,	LFENCE_RDTSC)
	/* SmmPgCfgLock */
	FEATURE(synthesized,	VERW_CLEAR)
	FEATURE(hardware,	NULL_SEL_CLR_BASE)	/* has an exception */
	/* UpperAddressIgnore */
	FEATURE(hardware,	AUTOIBRS)
	FEATURE(emulated,	NO_SMM_CTL_MSR)
	/* FSRS, FSRC, PrefetchCtlMsr, CpuidUserDis, EPSF */
	FEATURE(synthesized,	SBPB)
	FEATURE(synthesized,	IBPB_BRTYPE)
	FEATURE(synthesized,	SRSO_NO)
	FEATURE(hardware,	SRSO_USER_KERNEL_NO)
#undef FEATURE_WORD

/*
 * A guest that has these does not defend itself.  They must come from the kernel,
 * which knows whether the CPU and its microcode are immune.
 */
#define FEATURE_WORD CPUID_8000_0021_ECX
	SCATTERED_FEATURE(synthesized,	TSA_SQ_NO)
	SCATTERED_FEATURE(synthesized,	TSA_L1_NO)
	SCATTERED_FEATURE(synthesized,	TSA_FILL_NO)
#undef FEATURE_WORD

#define FEATURE_WORD CPUID_8000_0022_EAX
	SCATTERED_FEATURE(passthrough,	PERFMON_V2)	/* SVM may clear it */
	SCATTERED_FEATURE(vendor,	AMD_LBR_V2)	/* SVM, if guests own the PMU */
	SCATTERED_FEATURE(vendor,	AMD_LBR_PMC_FREEZE) /* likewise */
#undef FEATURE_WORD

#define FEATURE_WORD CPUID_C000_0001_EDX
	FEATURE(hardware,	XSTORE)
	FEATURE(hardware,	XSTORE_EN)
	FEATURE(hardware,	XCRYPT)
	FEATURE(hardware,	XCRYPT_EN)
	FEATURE(hardware,	ACE2)
	FEATURE(hardware,	ACE2_EN)
	FEATURE(hardware,	PHE)
	FEATURE(hardware,	PHE_EN)
	FEATURE(hardware,	PMM)
	FEATURE(hardware,	PMM_EN)
#undef FEATURE_WORD
