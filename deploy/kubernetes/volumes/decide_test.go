package main

import (
	"testing"

	core "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func claimOf(change func(*core.PersistentVolumeClaim)) *core.PersistentVolumeClaim {
	claim := &core.PersistentVolumeClaim{
		ObjectMeta: meta.ObjectMeta{
			Namespace: "a", Name: "data-sc-0", UID: "1234", Annotations: map[string]string{selectedNode: "here"},
		},
		Spec: core.PersistentVolumeClaimSpec{
			AccessModes: []core.PersistentVolumeAccessMode{core.ReadWriteOnce},
			Resources: core.VolumeResourceRequirements{
				Requests: core.ResourceList{core.ResourceStorage: resource.MustParse("2Gi")},
			},
		},
	}
	if change != nil {
		change(claim)
	}
	return claim
}

func named(claim *core.PersistentVolumeClaim, phase core.PersistentVolumeClaimPhase) {
	claim.Spec.VolumeName, claim.Status.Phase = "a.data-sc-0", phase
}

func TestAClaimGetsAVolumeOnlyOnTheNodeThatWasSelectedForIt(t *testing.T) {
	late, atOnce := storage.VolumeBindingWaitForFirstConsumer, storage.VolumeBindingImmediate
	ours := &storage.StorageClass{
		ObjectMeta: meta.ObjectMeta{Name: "late"}, Provisioner: provisioner, VolumeBindingMode: &late,
	}
	bindsAtOnce := &storage.StorageClass{
		ObjectMeta: meta.ObjectMeta{Name: "local"}, Provisioner: provisioner, VolumeBindingMode: &atOnce,
	}
	others := &storage.StorageClass{ObjectMeta: meta.ObjectMeta{Name: "ssd"}, Provisioner: "somebody/else"}
	block := core.PersistentVolumeBlock
	now := meta.Now()
	for name, check := range map[string]struct {
		change func(*core.PersistentVolumeClaim)
		class  *storage.StorageClass
		node   string
		wanted bool
	}{
		"ours":                          {nil, ours, "here", true},
		"a class of somebody else's":    {nil, others, "here", false},
		"another node":                  {nil, ours, "there", false},
		"any node, when simulated":      {nil, ours, "", true},
		"no node selected":              {func(c *core.PersistentVolumeClaim) { c.Annotations = nil }, ours, "here", false},
		"no node selected, simulated":   {func(c *core.PersistentVolumeClaim) { c.Annotations = nil }, ours, "", false},
		"no node selected, at once":     {func(c *core.PersistentVolumeClaim) { c.Annotations = nil }, bindsAtOnce, "here", true},
		"simulated, at once":            {func(c *core.PersistentVolumeClaim) { c.Annotations = nil }, bindsAtOnce, "", true},
		"a claim that is being deleted": {func(c *core.PersistentVolumeClaim) { c.DeletionTimestamp = &now }, ours, "here", false},
		"named, simulated":              {func(c *core.PersistentVolumeClaim) { named(c, core.ClaimPending) }, ours, "", true},
		"named and lost, simulated":     {func(c *core.PersistentVolumeClaim) { named(c, core.ClaimLost) }, ours, "", false},
		"named and bound, simulated":    {func(c *core.PersistentVolumeClaim) { named(c, core.ClaimBound) }, ours, "", false},
		"named, on a node":              {func(c *core.PersistentVolumeClaim) { named(c, core.ClaimPending) }, ours, "here", false},
		"a raw device":                  {func(c *core.PersistentVolumeClaim) { c.Spec.VolumeMode = &block }, ours, "here", false},
	} {
		volume := volumeFor(claimOf(check.change), check.class, check.node, "/volumes")
		if (volume != nil) != check.wanted {
			t.Errorf("%s: got %v", name, volume)
		}
	}
}

func TestAVolumeIsBoundToItsClaimItsNodeAndItsFolder(t *testing.T) {
	retain := core.PersistentVolumeReclaimRetain
	class := &storage.StorageClass{ObjectMeta: meta.ObjectMeta{Name: "kept"}, Provisioner: provisioner, ReclaimPolicy: &retain}
	volume := volumeFor(claimOf(nil), class, "here", "/volumes")
	spec := volume.Spec
	if volume.Name != "pvc-1234" || spec.Local.Path != "/volumes/pvc-1234" || spec.StorageClassName != "kept" {
		t.Errorf("name, folder or class: %+v", volume)
	}
	if spec.ClaimRef.UID != "1234" || spec.ClaimRef.Namespace != "a" || spec.ClaimRef.Name != "data-sc-0" {
		t.Errorf("claim: %+v", spec.ClaimRef)
	}
	if spec.PersistentVolumeReclaimPolicy != retain || !onNode(volume, "here") || onNode(volume, "there") {
		t.Errorf("policy or node: %+v", spec)
	}
	if size := spec.Capacity[core.ResourceStorage]; size.String() != "2Gi" {
		t.Errorf("size: %v", size.String())
	}
}

func TestAVolumeOnNoNodeIsOfAKindThatNeedsNone(t *testing.T) {
	volume := volumeFor(claimOf(nil), &storage.StorageClass{Provisioner: provisioner}, "", "/volumes")
	if volume.Spec.NodeAffinity != nil || volume.Spec.Local != nil || volume.Spec.HostPath == nil {
		t.Errorf("%+v", volume.Spec)
	}
}

func TestAVolumeThatIsAwaitedByNameHasThatName(t *testing.T) {
	claim := claimOf(func(c *core.PersistentVolumeClaim) { named(c, core.ClaimPending) })
	volume := volumeFor(claim, &storage.StorageClass{Provisioner: provisioner}, "", "/volumes")
	if volume.Name != "a.data-sc-0" {
		t.Errorf("%s", volume.Name)
	}
}

func TestAClaimIsRemindedOnceOfTheVolumeThatItAwaits(t *testing.T) {
	bound, ours := core.VolumeBound, map[string]string{storageProvisioner: provisioner}
	for name, check := range map[string]struct {
		claim       core.PersistentVolumeClaimPhase
		annotations map[string]string
		volume      core.PersistentVolumePhase
		volumeName  string
		wanted      bool
	}{
		"taken for it":       {core.ClaimPending, nil, bound, "a.data-sc-0", true},
		"reminded before":    {core.ClaimPending, ours, bound, "a.data-sc-0", false},
		"not seen yet":       {core.ClaimPending, nil, core.VolumeAvailable, "a.data-sc-0", false},
		"bound":              {core.ClaimBound, nil, bound, "a.data-sc-0", false},
		"a volume of others": {core.ClaimPending, nil, bound, "b.data-sc-0", false},
	} {
		claim := claimOf(func(c *core.PersistentVolumeClaim) { named(c, check.claim); c.Annotations = check.annotations })
		volume := &core.PersistentVolume{ObjectMeta: meta.ObjectMeta{Name: check.volumeName}}
		volume.Status.Phase = check.volume
		if got := awaitsByName(claim, volume); got != check.wanted {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestAVolumeGrowsWithItsClaimAndNeverShrinks(t *testing.T) {
	for name, check := range map[string]struct {
		volume, shown, by string
		phase             core.PersistentVolumeClaimPhase
		wanted            behind
	}{
		"as asked":              {"2Gi", "2Gi", provisioner, core.ClaimBound, behind{}},
		"smaller":               {"1Gi", "1Gi", provisioner, core.ClaimBound, behind{volume: true, claim: true}},
		"grown, not shown":      {"2Gi", "1Gi", provisioner, core.ClaimBound, behind{claim: true}},
		"larger than asked":     {"4Gi", "4Gi", provisioner, core.ClaimBound, behind{}},
		"of somebody else":      {"1Gi", "1Gi", "somebody/else", core.ClaimBound, behind{}},
		"not bound to it (yet)": {"1Gi", "1Gi", provisioner, core.ClaimPending, behind{}},
	} {
		claim := claimOf(func(c *core.PersistentVolumeClaim) {
			c.Status.Phase = check.phase
			c.Status.Capacity = core.ResourceList{core.ResourceStorage: resource.MustParse(check.shown)}
		})
		volume := &core.PersistentVolume{
			ObjectMeta: meta.ObjectMeta{Annotations: map[string]string{provisionedBy: check.by}},
			Spec:       core.PersistentVolumeSpec{Capacity: core.ResourceList{core.ResourceStorage: resource.MustParse(check.volume)}},
		}
		if size, got := growth(claim, volume); size != "2Gi" || got != check.wanted {
			t.Errorf("%s: %s %+v", name, size, got)
		}
	}
}

func TestOnlyAReleasedVolumeOfOursWhoseClassDeletesIsWiped(t *testing.T) {
	now := meta.Now()
	for name, check := range map[string]struct {
		change func(*core.PersistentVolume)
		node   string
		wanted bool
	}{
		"released":       {func(*core.PersistentVolume) {}, "here", true},
		"another node's": {func(*core.PersistentVolume) {}, "there", false},
		"still bound":    {func(v *core.PersistentVolume) { v.Status.Phase = core.VolumeBound }, "here", false},
		"retained": {func(v *core.PersistentVolume) {
			v.Spec.PersistentVolumeReclaimPolicy = core.PersistentVolumeReclaimRetain
		}, "here", false},
		"somebody else's": {func(v *core.PersistentVolume) { v.Annotations = nil }, "here", false},
		"going already":   {func(v *core.PersistentVolume) { v.DeletionTimestamp = &now }, "here", false},
	} {
		class := &storage.StorageClass{Provisioner: provisioner}
		volume := volumeFor(claimOf(nil), class, "here", "/volumes")
		volume.Status.Phase = core.VolumeReleased
		check.change(volume)
		if got := toWipe(volume, check.node); got != check.wanted {
			t.Errorf("%s: %v", name, got)
		}
	}
}
