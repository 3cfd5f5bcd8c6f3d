package main

import (
	"path/filepath"

	core "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	provisioner        = "fluvio-cloud/local"
	provisionedBy      = "pv.kubernetes.io/provisioned-by"
	selectedNode       = "volume.kubernetes.io/selected-node"
	storageProvisioner = "volume.kubernetes.io/storage-provisioner"
)

// volumeFor is the volume that a claim without one asks of `node`, or nil when it asks none. Without a node, for nodes
// that are only simulated, it is on whichever the scheduler selected, or, in classes that bind at once, on none; and
// such a claim may have been given its volume's name before there is one.
func volumeFor(claim *core.PersistentVolumeClaim, class *storage.StorageClass, node, root string) *core.PersistentVolume {
	if class.Provisioner != provisioner || claim.DeletionTimestamp != nil {
		return nil
	}
	name := "pvc-" + string(claim.UID)
	if named := claim.Spec.VolumeName; named != "" {
		if node != "" || claim.Status.Phase != core.ClaimPending {
			return nil // It is bound, has lost its volume, or waits for one that somebody else promised.
		}
		name = named
	}
	on := node
	if class.VolumeBindingMode != nil && *class.VolumeBindingMode == storage.VolumeBindingWaitForFirstConsumer {
		on = claim.Annotations[selectedNode]
		if on == "" || (node != "" && node != on) {
			return nil
		}
	}
	if claim.Spec.VolumeMode != nil && *claim.Spec.VolumeMode != core.PersistentVolumeFilesystem {
		return nil
	}
	reclaim := core.PersistentVolumeReclaimDelete
	if class.ReclaimPolicy != nil {
		reclaim = *class.ReclaimPolicy
	}
	volume := &core.PersistentVolume{
		ObjectMeta: meta.ObjectMeta{Name: name, Annotations: map[string]string{provisionedBy: provisioner}},
		Spec: core.PersistentVolumeSpec{
			Capacity:                      core.ResourceList{core.ResourceStorage: claim.Spec.Resources.Requests[core.ResourceStorage]},
			AccessModes:                   claim.Spec.AccessModes,
			PersistentVolumeReclaimPolicy: reclaim,
			StorageClassName:              class.Name,
			ClaimRef: &core.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim",
				Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
			PersistentVolumeSource: core.PersistentVolumeSource{
				Local: &core.LocalVolumeSource{Path: filepath.Join(root, name)},
			},
			NodeAffinity: affinity(on),
		},
	}
	if on == "" {
		// A local volume has to be on a node. Nothing is mounted on simulated ones, so any kind does there.
		volume.Spec.PersistentVolumeSource = core.PersistentVolumeSource{
			HostPath: &core.HostPathVolumeSource{Path: filepath.Join(root, name)},
		}
	}
	return volume
}

func affinity(node string) *core.VolumeNodeAffinity {
	if node == "" {
		return nil
	}
	return &core.VolumeNodeAffinity{Required: &core.NodeSelector{
		NodeSelectorTerms: []core.NodeSelectorTerm{{
			MatchExpressions: []core.NodeSelectorRequirement{{
				Key: core.LabelHostname, Operator: core.NodeSelectorOpIn, Values: []string{node},
			}},
		}},
	}}
}

// awaitsByName says whether a claim awaits this volume, which Kubernetes has taken for it, without knowing that yet.
func awaitsByName(claim *core.PersistentVolumeClaim, volume *core.PersistentVolume) bool {
	return claim.Spec.VolumeName == volume.Name && claim.Status.Phase == core.ClaimPending &&
		volume.Status.Phase == core.VolumeBound && claim.Annotations[storageProvisioner] == ""
}

// behind says what does not show a claim's size yet.
type behind struct{ volume, claim bool }

// growth is the size that a claim asks for and what is smaller. Nothing ever shrinks.
func growth(claim *core.PersistentVolumeClaim, volume *core.PersistentVolume) (string, behind) {
	wanted := claim.Spec.Resources.Requests[core.ResourceStorage]
	if volume.Annotations[provisionedBy] != provisioner || claim.Status.Phase != core.ClaimBound {
		return wanted.String(), behind{}
	}
	has, shows := volume.Spec.Capacity[core.ResourceStorage], claim.Status.Capacity[core.ResourceStorage]
	return wanted.String(), behind{volume: has.Cmp(wanted) < 0, claim: shows.Cmp(wanted) < 0}
}

// toWipe says whether a volume's claim is gone and its class said that its data goes with it.
func toWipe(volume *core.PersistentVolume, node string) bool {
	ours := volume.Annotations[provisionedBy] == provisioner
	released := volume.Status.Phase == core.VolumeReleased && volume.DeletionTimestamp == nil
	deleted := volume.Spec.PersistentVolumeReclaimPolicy == core.PersistentVolumeReclaimDelete
	return ours && released && deleted && (node == "" || onNode(volume, node))
}

func onNode(volume *core.PersistentVolume, node string) bool {
	if volume.Spec.NodeAffinity == nil || volume.Spec.NodeAffinity.Required == nil {
		return false
	}
	for _, term := range volume.Spec.NodeAffinity.Required.NodeSelectorTerms {
		for _, expression := range term.MatchExpressions {
			if expression.Key == core.LabelHostname && len(expression.Values) == 1 && expression.Values[0] == node {
				return true
			}
		}
	}
	return false
}
