package main

import (
	"context"
	"fmt"
	"log"
	"sync"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/util/workqueue"
)

// item is something to look at: a claim (with its namespace) or a volume (without).
type item struct{ namespace, name string }

type loop struct {
	client  kubernetes.Interface
	claims  corelisters.PersistentVolumeClaimLister
	volumes corelisters.PersistentVolumeLister
	classes storagelisters.StorageClassLister
	queue   workqueue.TypedRateLimitingInterface[item]
	folders folders
	// node is empty when volumes are made for simulated nodes, without folders.
	node string
}

func newLoop(client kubernetes.Interface, factory informers.SharedInformerFactory, folders folders, node string) *loop {
	claims := factory.Core().V1().PersistentVolumeClaims()
	volumes := factory.Core().V1().PersistentVolumes()
	classes := factory.Storage().V1().StorageClasses()
	l := &loop{
		client: client, claims: claims.Lister(), volumes: volumes.Lister(), classes: classes.Lister(),
		queue:   workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[item]()),
		folders: folders, node: node,
	}
	onEvery(claims.Informer(), func(object any) {
		claim := object.(*core.PersistentVolumeClaim)
		l.queue.Add(item{claim.Namespace, claim.Name})
	})
	onEvery(volumes.Informer(), func(object any) {
		l.queue.Add(item{"", object.(*core.PersistentVolume).Name})
	})
	classes.Informer()
	return l
}

// run serves the queue until the context ends and what is being done is done.
func (l *loop) run(ctx context.Context) {
	var done sync.WaitGroup
	for range workers {
		done.Add(1)
		go func() {
			defer done.Done()
			for l.next(ctx) {
			}
		}()
	}
	<-ctx.Done()
	l.queue.ShutDown()
	done.Wait()
}

func (l *loop) next(ctx context.Context) bool {
	it, over := l.queue.Get()
	if over {
		return false
	}
	defer l.queue.Done(it)
	var err error
	if it.namespace == "" {
		err = l.lookAtVolume(ctx, it.name)
	} else {
		err = l.lookAtClaim(ctx, it.namespace, it.name)
	}
	if err == nil {
		l.queue.Forget(it)
	} else {
		log.Printf("%s/%s: %v (tried again)", it.namespace, it.name, err)
		l.queue.AddRateLimited(it)
	}
	return true
}

func (l *loop) lookAtClaim(ctx context.Context, namespace, name string) error {
	claim, err := l.claims.PersistentVolumeClaims(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if bound, err := l.volumes.Get(claim.Spec.VolumeName); err == nil {
		return l.grow(ctx, claim, bound)
	}
	if claim.Spec.StorageClassName == nil {
		return nil
	}
	class, err := l.classes.Get(*claim.Spec.StorageClassName)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	volume := volumeFor(claim, class, l.node, l.folders.root)
	if volume == nil {
		return nil
	}
	if l.node != "" {
		if err := l.folders.make(volume.Name); err != nil {
			return err
		}
	}
	_, err = l.client.CoreV1().PersistentVolumes().Create(ctx, volume, meta.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func (l *loop) grow(ctx context.Context, claim *core.PersistentVolumeClaim, volume *core.PersistentVolume) error {
	size, of := growth(claim, volume)
	var err error
	patch := fmt.Appendf(nil, `{"capacity":{"storage":%q}}`, size)
	if of.volume {
		_, err = l.client.CoreV1().PersistentVolumes().Patch(ctx, volume.Name, types.MergePatchType,
			fmt.Appendf(nil, `{"spec":%s}`, patch), meta.PatchOptions{})
	}
	if err == nil && of.claim {
		_, err = l.client.CoreV1().PersistentVolumeClaims(claim.Namespace).Patch(ctx, claim.Name, types.MergePatchType,
			fmt.Appendf(nil, `{"status":%s}`, patch), meta.PatchOptions{}, "status")
	}
	return err
}

func (l *loop) lookAtVolume(ctx context.Context, name string) error {
	volume, err := l.volumes.Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if ref := volume.Spec.ClaimRef; ref != nil && l.node == "" {
		claim, err := l.claims.PersistentVolumeClaims(ref.Namespace).Get(ref.Name)
		if err == nil && awaitsByName(claim, volume) {
			return l.remind(ctx, claim)
		}
	}
	if !toWipe(volume, l.node) {
		return nil
	}
	if l.node != "" {
		if err := l.folders.wipe(volume.Name); err != nil {
			return err
		}
	}
	err = l.client.CoreV1().PersistentVolumes().Delete(ctx, name, meta.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// remind changes a claim that awaits its volume by name: Kubernetes has seen the volume, but looks at such a claim
// again only when it changes, or 15 seconds later.
func (l *loop) remind(ctx context.Context, claim *core.PersistentVolumeClaim) error {
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, storageProvisioner, provisioner)
	_, err := l.client.CoreV1().PersistentVolumeClaims(claim.Namespace).Patch(ctx, claim.Name, types.MergePatchType,
		patch, meta.PatchOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
